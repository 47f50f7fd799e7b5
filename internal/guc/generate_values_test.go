package guc_test

import (
	"fmt"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// assignment returns a name and a value as written.
func (g *generator) assignment() (name, value string) {
	switch {
	case g.unknownNames && g.chance(0.2):
		return pick(g, "no_such_setting", "wrk_mem", "é", "include_file", "_"), g.value(guc.Definition{Type: guc.TypeString})
	case g.chance(0.25):
		name = pick(g, "x.y", "x.z", "lib.naptime", "é.ü", "x._1")
		return name, g.value(guc.Definition{Type: guc.TypeString})
	}
	def := g.defs[g.IntN(len(g.defs))]
	name = def.Name
	if !g.tame && g.chance(0.1) {
		name = pick(g, strings.ToUpper(name), strings.ToUpper(name[:1])+name[1:])
	}
	return name, g.value(def)
}

// value returns a value for a setting, quoted where it must be and sometimes
// where it need not.
func (g *generator) value(def guc.Definition) string {
	var text string
	switch {
	case g.badValues && g.chance(0.15):
		text = g.text()
	case def.Type == guc.TypeBool:
		text = g.boolean()
	case def.Type == guc.TypeEnum:
		text = g.enum(def)
	case def.Type == guc.TypeString:
		text = g.text()
	default:
		text = g.number(def)
	}
	if isBare(text) && g.chance(0.7) {
		return text
	}
	return g.quoted(text)
}

func (g *generator) boolean() string {
	word := pick(g, "on", "off", "true", "false", "yes", "no", "1", "0", "tr", "f", "of", "y")
	if g.badValues && g.chance(0.2) {
		word = pick(g, "o", "", "onn", " on", "2", "true ")
	}
	return g.anyCase(word)
}

func (g *generator) anyCase(word string) string {
	return pick(g, word, word, strings.ToUpper(word))
}

func (g *generator) enum(def guc.Definition) string {
	words := append([]string{}, def.EnumOptions...)
	for alias := range def.EnumAliases {
		words = append(words, alias)
	}
	if g.badValues && g.chance(0.2) {
		return pick(g, "loud", "", " on")
	}
	return g.anyCase(words[g.IntN(len(def.EnumOptions))])
}

// number is one in any of C's notations, often in the range of def.
func (g *generator) number(def guc.Definition) string {
	low, high := float64(def.Min), float64(def.Max)
	if def.Type == guc.TypeReal {
		low, high = def.MinReal, def.MaxReal
	}
	high = min(high, low+1e4)
	f := low + g.Float64()*(high-low)
	text := pick(g,
		fmt.Sprintf("%.0f", f), fmt.Sprintf("%.0f", f), fmt.Sprintf("%g", f), fmt.Sprintf("%.3f", f), fmt.Sprintf("%e", f),
		fmt.Sprintf("0x%X", int(f)), fmt.Sprintf("0%o", int(f)), fmt.Sprintf("+%d", int(f)), fmt.Sprintf("%.1f", float64(int(f))+0.5))
	if g.badValues && g.chance(0.3) {
		text = pick(g, "-1", "99999999999999999999", "2147483648", "1e400", "1e-400", "inf", "-Infinity", "nan", "0x", "08", ".", ".5", " .5", "1.",
			"1e", "0x1.8p3", "0x.8", "1_000", "", " ", "+", "--1", "1 2", "0e5", "-0", "-0.4", "0x7fffffff", "9223372036854775808")
	}
	if def.Unit == guc.UnitNone && !(g.badValues && g.chance(0.1)) {
		return text
	}
	memory, time := []string{"B", "kB", "MB", "GB", "TB"}, []string{"us", "ms", "s", "min", "h", "d"}
	units := time
	if def.Unit == guc.UnitByte || def.Unit == guc.UnitKB || def.Unit == guc.UnitMB {
		units = memory
	}
	switch {
	case g.badValues && g.chance(0.1):
		units = []string{"KB", "sec", "S", "x", "kB", "min", "kB x"}
	case g.chance(0.4):
		return text
	}
	return text + pick(g, "", "", " ", "  ", "\t") + units[g.IntN(len(units))] + pick(g, "", "", "", " ")
}

// text is any string.
func (g *generator) text() string {
	pieces := []string{"a", "B", "/", "-", ".", ":", "_", "1", " ", "'", "''", `\`, "#", "=", "é", "\t", "%p", "\"", "\n", "\f", "\x01", "\x7f"}
	if !g.tame {
		pieces = append(pieces, "\xff", "\xc3")
	}
	if g.chance(0.5) {
		pieces = pieces[:8] // may do without quotes
	}
	return g.some(6, func() string { return pieces[g.IntN(len(pieces))] })
}

// isBare reports whether a value may do without quotes. It may be wrong: then
// there is one more syntax error in the world.
func isBare(s string) bool {
	return s != "" && !strings.ContainsAny(s, " \t\n\r\f#'=\\\"%\x01\x7f+") && strings.Count(s, ".") != 1 || strings.Trim(s, "0123456789") == "."
}

// quoted quotes a value, with all the ways to escape what must be, and some
// that needn't.
func (g *generator) quoted(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '\n' && g.chance(0.5):
			b.WriteString(`\n`)
		case c == '\f' && g.chance(0.5):
			b.WriteString(`\f`)
		case c == '\n', g.chance(0.05) && !isOctal(s, i+1):
			fmt.Fprintf(&b, `\%o`, c)
		case c == '\n', g.chance(0.05):
			fmt.Fprintf(&b, `\%03o`, c)
		case c == '\'':
			b.WriteString(pick(g, `''`, `\'`))
		case c == '\\':
			b.WriteString(`\\`)
		case g.chance(0.02) && strings.IndexByte("bfnrt01234567", c) < 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	if !g.tame && g.chance(0.01) {
		b.WriteString(pick(g, `\000rest`, `\0`, "\x00", "b\x00c"))
	}
	b.WriteByte('\'')
	return b.String()
}

func isOctal(s string, i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '7' }

// junk is a line that is hardly right.
func (g *generator) junk() string {
	if g.chance(0.3) {
		return pick(g, "work_mem", "work_mem =", "= 1", "work_mem = 1 2", "work_mem == 1", "a.b.c = 1", "x.y = z.w", "a-b = 1", "1 = 1", "work_mem = 1.5MB",
			"restore_command = 'open", "restore_command = 'a''", `restore_command = 'a\`, "'work_mem' = 1", "x.$1 = 1", "include", "include_dir = a.b", ".x = 1", "x. = 1")
	}
	return g.some(5, func() string {
		return pick(g, "work_mem", "x.y", "=", " ", "'", `\`, "1", "1.5", "-", "+", ".", "$", "\x00", "\xff", "\f", "\v", "#", "0x", "0x1g", "1e5", "a:b/c", "é", "\r")
	})
}
