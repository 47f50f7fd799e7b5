package plugins

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// byHandOptions are the options of a library that a person starts.
type byHandOptions struct {
	help, version bool
	function      string // of --standalone, or ""
	worker        BackgroundWorker
	items         []guc.Item // of -c and --server
	dir           string     // of -D, or ""
}

// standaloneOnly are the options that mean nothing without --standalone. Those
// that "pgexthost launch" and "pgexthost run" have, too, have their names.
var standaloneOnly = map[string]func(o *byHandOptions, value string) error{
	"server": func(o *byHandOptions, value string) error {
		o.items = append(o.items, guc.Item{Name: settings.ServerConninfo, Value: value, Source: guc.SourceCommandLine})
		return nil
	},
	"set": func(o *byHandOptions, value string) error {
		item, err := guc.ParseOption(value)
		o.items = append(o.items, item)
		return err
	},
	"pgdata": func(o *byHandOptions, value string) error { o.dir = value; return nil },
	"name":   func(o *byHandOptions, value string) error { o.worker.Name = value; return nil },
	"type":   func(o *byHandOptions, value string) error { o.worker.Type = value; return nil },
	"arg": func(o *byHandOptions, value string) (err error) {
		if o.worker.MainArg, err = strconv.ParseInt(value, 10, 64); err != nil {
			return refuseOption("invalid argument \"%s\" of --arg: not a number of 64 bits", value)
		}
		return nil
	},
	"extra": func(o *byHandOptions, value string) (err error) {
		o.worker.Extra, err = TextExtra(value)
		return err
	},
}

// shortOptions are the other names of some.
var shortOptions = map[string]string{"c": "set", "D": "pgdata", "V": "version", "?": "help", "h": "help"}

func refuseOption(format string, args ...any) *elog.ErrorData {
	return elog.New(elog.Error, elog.SyntaxError, format, args...)
}

// parseByHand reads the arguments of a library that a person has started.
func parseByHand(args []string) (o byHandOptions, err error) {
	needsFunction := ""
	for len(args) > 0 {
		arg := args[0]
		name, value, hasValue := splitOption(arg)
		args = args[1:]
		set, known := standaloneOnly[name]
		switch {
		case name == "":
			return o, refuseOption("too many command-line arguments (first is \"%s\")", arg)
		case (name == "help" || name == "version") && !hasValue:
			o.help, o.version = o.help || name == "help", o.version || name == "version"
			continue
		case name == "standalone":
			set = func(o *byHandOptions, value string) error { o.function = value; return nil }
		case !known:
			return o, refuseOption("unrecognized option \"%s\"", arg)
		default:
			needsFunction = arg
		}
		if !hasValue {
			if len(args) == 0 {
				return o, refuseOption("option \"%s\" requires an argument", arg)
			}
			value, args = args[0], args[1:]
		}
		if err := set(&o, value); err != nil {
			return o, err
		}
	}
	if o.function == "" && needsFunction != "" && !o.help && !o.version {
		return o, refuseOption("option \"%s\" is of use only with --standalone FUNCTION", needsFunction)
	}
	return o, nil
}

// splitOption reads one argument as getopt_long does: --name, --name=value, -n or
// -nvalue. The name is empty for what is no option.
func splitOption(arg string) (name, value string, hasValue bool) {
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		return strings.Cut(long, "=")
	}
	short, ok := strings.CutPrefix(arg, "-")
	if !ok || short == "" {
		return "", "", false
	}
	name, known := shortOptions[short[:1]]
	if !known {
		name = short
	}
	return name, short[1:], len(short) > 1 && known
}

// read is the configuration that the options stand for, now.
func (o *byHandOptions) read() guc.Config {
	var conf guc.Config
	if o.dir != "" {
		conf = settings.ReadFiles(filepath.Join(o.dir, settings.ConfigFileName))
	}
	conf.Items = append(conf.Items, o.items...)
	return conf
}
