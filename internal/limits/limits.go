package limits

import (
	"fmt"
	"strconv"
	"strings"
)

// The words of the setting.
const (
	Memory          = "memory"
	Files           = "files"
	Nice            = "nice"
	NoNewPrivileges = "no_new_privileges"
	Directory       = "directory"
	envPrefix       = "env."
)

// Limits are the limits of one library's processes: of each by itself, and of
// the processes that it starts. What is zero is not limited. Treat them as
// immutable.
type Limits struct {
	Library         string     // whose they are, as library_limits says: a name, a file or "*"
	Memory          int64      // in bytes: what the process can fill
	Files           int        // how many descriptors it can have open
	Nice            *int       // its niceness, -20 to 19
	NoNewPrivileges bool       // executing a set-user-ID program gains it nothing
	Directory       string     // its working directory
	Env             []Variable // what its environment has beside, instead of, or without what the others' have
}

// Variable is a change to the environment.
type Variable struct {
	Name, Value string
	Unset       bool // it is removed
}

// None reports whether nothing is limited. It is true for nil, too.
func (l *Limits) None() bool {
	return l == nil || l.Memory == 0 && l.Files == 0 && l.Nice == nil && !l.NoNewPrivileges && l.Directory == "" && len(l.Env) == 0
}

// Environment returns a copy of env, as os.Environ has it, with the changes.
//
// A limit of memory sets GOMEMLIMIT to nine tenths of it, so that the garbage
// collector does what it can before there is no more memory to be had; whoever
// knows better sets the variable.
func (l *Limits) Environment(env []string) []string {
	changes := l.Env
	if l.Memory > 0 {
		changes = append([]Variable{{Name: "GOMEMLIMIT", Value: strconv.FormatInt(l.Memory/10*9, 10)}}, changes...)
	}
	last := make(map[string]Variable, len(changes))
	for _, v := range changes {
		last[v.Name] = v
	}
	var result []string
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		if _, changed := last[name]; !changed {
			result = append(result, variable)
		}
	}
	for _, v := range changes {
		if final := last[v.Name]; final == v && !v.Unset {
			result = append(result, v.Name+"="+v.Value)
			delete(last, v.Name)
		}
	}
	return result
}

// String returns the limits as library_limits would say them, without the name
// of the library.
func (l *Limits) String() string {
	if l.None() {
		return ""
	}
	var words []string
	if l.Memory > 0 {
		words = append(words, Memory+"="+strings.ReplaceAll(Size(l.Memory), " ", ""))
	}
	if l.Files > 0 {
		words = append(words, Files+"="+strconv.Itoa(l.Files))
	}
	if l.Nice != nil {
		words = append(words, Nice+"="+strconv.Itoa(*l.Nice))
	}
	if l.NoNewPrivileges {
		words = append(words, NoNewPrivileges)
	}
	if l.Directory != "" {
		words = append(words, Directory+"="+quote(l.Directory))
	}
	for _, v := range l.Env {
		word := envPrefix + v.Name
		if !v.Unset {
			word += "=" + quote(v.Value)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// quote puts a text into quotes if it needs them. An empty text does not.
func quote(text string) string {
	if !strings.ContainsAny(text, " \t\n\v\f\r\";:") {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

// Size shows a number of bytes in the greatest of PostgreSQL's units that says
// it exactly.
func Size(bytes int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}} {
		if bytes >= u.size && bytes%u.size == 0 {
			return fmt.Sprintf("%d %s", bytes/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
