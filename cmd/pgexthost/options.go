package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/shellwords"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// split returns the words of all -o options, which make one line together.
func (s *startFlags) split() ([]string, error) {
	line := strings.Join(s.options, " ")
	words, err := shellwords.Split(line)
	if err != nil {
		return nil, elog.New(elog.Error, elog.SyntaxError, "invalid argument of -o: %v", err).
			WithDetail("The options are: %s", line).WithCause(err)
	}
	return words, nil
}

// words is split for options of "pgexthost run". It refuses what that would
// refuse, as long as there is somebody to see it.
func (s *startFlags) words() ([]string, error) {
	words, err := s.split()
	if err != nil {
		return nil, err
	}
	if err := checkRunOptions(words); err != nil {
		return nil, err
	}
	return words, nil
}

func checkRunOptions(words []string) error {
	flags, options := newRunFlags()
	flags.Usage = func() {} // -h would print it
	refuse := func(format string, args ...any) error {
		return elog.New(elog.Error, elog.SyntaxError, "invalid argument of -o: "+format, args...).
			WithHint("Try \"pgexthost run --help\" for the options of the host.")
	}
	switch err := flags.Parse(words); {
	case errors.Is(err, pflag.ErrHelp) || flags.Changed("help"):
		return refuse("--help does not start a host")
	case err != nil:
		return refuse("%v", err)
	case flags.Changed("pgdata"):
		return refuse("-D is no option to pass on")
	case flags.NArg() > 0:
		return refuse("too many command-line arguments (first is \"%s\")", flags.Arg(0))
	}
	return checkSettings(options.settings)
}

// checkSettings refuses settings that no host would start with. Those of
// libraries are not known here.
func checkSettings(texts []string) error {
	var conf guc.Config
	for _, text := range texts {
		item, err := guc.ParseOption(text)
		if err != nil {
			return err
		}
		conf.Items = append(conf.Items, item)
	}
	for _, report := range guc.NewStore(settings.Definitions()...).ApplyStartup(conf) {
		if report.Level >= elog.Fatal {
			return report
		}
	}
	return nil
}

// isRun reports whether these are arguments of "pgexthost run".
func isRun(args []string) bool {
	if len(args) == 0 || args[0] != "run" {
		return false
	}
	flags, _ := newRunFlags()
	flags.Usage = func() {}
	return flags.Parse(args[1:]) == nil && flags.NArg() == 0
}
