package sql

import (
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// control is what a control file says, as far as it matters here. Mirrors
// ExtensionControlFile.
type control struct {
	defaultVersion string
	comment        string
	schema         string // where it has to be, or empty
	requires       []string
}

// readControl reads a control file, which has the syntax of a configuration file.
// Mirrors parse_extension_control_file.
func (s source) readControl(file string) (control, error) {
	text, err := s.read(file)
	if err != nil {
		return control{}, err
	}
	conf := guc.ParseBytes(s.path(file), []byte(text))
	for _, report := range conf.Reports {
		return control{}, elog.AsErrorData(report, elog.Error)
	}
	var c control
	for _, item := range conf.Items {
		if e := c.set(item); e != nil {
			return control{}, e
		}
	}
	return c, nil
}

// set obeys one line. What says how PostgreSQL itself would install the scripts is
// checked and has no effect; what would change them is refused.
func (c *control) set(item guc.Item) *elog.ErrorData {
	switch item.Name {
	case "default_version":
		c.defaultVersion = item.Value
		return checkVersionName(item.Value)
	case "comment":
		c.comment = item.Value
	case "schema":
		c.schema = item.Value
	case "requires":
		return c.setRequires(item)
	case "relocatable", "superuser", "trusted":
		if _, err := guc.Parse(guc.Definition{Name: item.Name, Type: guc.TypeBool, Default: "off"}, item.Value); err != nil {
			return elog.New(elog.Error, elog.InvalidParameterValue, "parameter \"%s\" requires a Boolean value", item.Name).WithDetail("%s", lineOf(item))
		}
	case "no_relocate":
	case "encoding":
		if name := strings.ReplaceAll(item.Value, "-", ""); !strings.EqualFold(name, "UTF8") {
			return unsupported(item).WithHint("Store the scripts in UTF8.")
		}
	case "directory", "module_pathname":
		return unsupported(item)
	default:
		return elog.New(elog.Error, elog.SyntaxError, "unrecognized parameter \"%s\" in file \"%s\"", item.Name, item.File).WithDetail("%s", lineOf(item))
	}
	return nil
}

func (c *control) setRequires(item guc.Item) *elog.ErrorData {
	names, err := plugins.SplitLibraries(item.Value, item.Name)
	for _, name := range names {
		if e := checkExtensionName(name); e != nil {
			err = e
		}
	}
	if err != nil {
		return elog.New(elog.Error, elog.InvalidParameterValue, "parameter \"%s\" must be a list of extension names", item.Name).WithDetail("%s", lineOf(item))
	}
	c.requires = names
	return nil
}

func unsupported(item guc.Item) *elog.ErrorData {
	return elog.New(elog.Error, elog.FeatureNotSupported, "parameter \"%s\" = '%s' is not supported in file \"%s\"", item.Name, item.Value, item.File)
}

func lineOf(item guc.Item) string {
	return elog.New(elog.Error, "", "This is line %d of file \"%s\".", item.Line, item.File).Message
}

// checkExtensionName refuses what would make file names ambiguous, or lead out of
// the directory. Mirrors check_valid_extension_name.
func checkExtensionName(name string) *elog.ErrorData {
	return checkFileWord(name, "invalid extension name: \"%s\"", "Extension names")
}

// checkVersionName does so for a version. Mirrors check_valid_version_name.
func checkVersionName(version string) *elog.ErrorData {
	return checkFileWord(version, "invalid extension version name: \"%s\"", "Version names")
}

// ValidExtensionName reports whether there can be files of an extension of that
// name.
func ValidExtensionName(name string) bool { return checkExtensionName(name) == nil }

func checkFileWord(word, message, what string) *elog.ErrorData {
	flaw := ""
	switch {
	case word == "":
		flaw = "must not be empty."
	case strings.Contains(word, "--"):
		flaw = "must not contain \"--\"."
	case word[0] == '-' || word[len(word)-1] == '-':
		flaw = "must not begin or end with \"-\"."
	case strings.ContainsAny(word, "/\x00"):
		flaw = "must not contain directory separator characters."
	}
	if flaw == "" {
		return nil
	}
	return elog.New(elog.Error, elog.InvalidParameterValue, message, word).WithDetail("%s %s", what, flaw)
}
