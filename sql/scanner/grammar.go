package scanner

import (
	"strconv"
	"strings"
)

// command returns what the statement says if that is one of the Commands, or nil.
func (p *parser) command() Command {
	switch {
	case p.accept("create", "extension"):
		return p.createExtension()
	case p.accept("drop", "extension"):
		return p.dropExtension()
	case p.accept("alter", "extension"):
		return p.alterExtension()
	case p.accept("alter", "system"):
		return p.alterSystem()
	case p.accept("load"):
		return p.wholly(Load{File: p.text()})
	case p.accept("show"):
		return p.wholly(Show{Name: p.pluginSetting()})
	case p.accept("set"):
		return p.set()
	case p.accept("reset", "all"):
		return p.wholly(Reset{All: true})
	case p.accept("reset"):
		return p.wholly(Reset{Name: p.pluginSetting()})
	}
	return nil
}

func (p *parser) createExtension() Command {
	c := CreateExtension{IfNotExists: p.accept("if", "not", "exists"), Name: p.name()}
	p.accept("with")
	var schema, version bool
	for !p.failed && p.tok.kind != endOfText {
		switch {
		case !schema && p.accept("schema"):
			c.Schema, schema = p.name(), true
		case !version && p.accept("version"):
			c.Version, version = p.wordOrText(), true
		case !c.Cascade && p.accept("cascade"):
			c.Cascade = true
		default:
			return nil
		}
	}
	return p.wholly(c)
}

func (p *parser) dropExtension() Command {
	c := DropExtension{IfExists: p.accept("if", "exists"), Names: []string{p.name()}}
	for !p.failed && p.acceptSymbol(",") {
		c.Names = append(c.Names, p.name())
	}
	if c.Cascade = p.accept("cascade"); !c.Cascade {
		p.accept("restrict")
	}
	return p.wholly(c)
}

func (p *parser) alterExtension() Command {
	c := AlterExtensionUpdate{Name: p.name()}
	p.expect("update")
	if p.accept("to") {
		c.To = p.wordOrText()
	}
	return p.wholly(c)
}

func (p *parser) alterSystem() Command {
	if p.accept("reset") {
		if p.accept("all") {
			return p.wholly(AlterSystem{Reset: true, All: true})
		}
		return p.wholly(AlterSystem{Name: p.setting(), Reset: true})
	}
	p.expect("set")
	c := AlterSystem{Name: p.setting()}
	c.Values, c.ToDefault = p.values()
	return p.wholly(c)
}

func (p *parser) set() Command {
	c := Set{Local: p.acceptScope("local")}
	if !c.Local {
		p.acceptScope("session")
	}
	c.Name = p.pluginSetting()
	c.Values, c.ToDefault = p.values()
	return p.wholly(c)
}

// acceptScope goes behind LOCAL or SESSION, unless it begins a name ("local.x").
func (p *parser) acceptScope(keyword string) bool {
	before := *p
	if p.accept(keyword) && !p.isSymbol(".") {
		return true
	}
	*p = before
	return false
}

// values takes {TO|=} {value, …|DEFAULT}.
func (p *parser) values() (values []string, toDefault bool) {
	if !p.accept("to") && !p.acceptSymbol("=") {
		p.failed = true
	}
	if p.accept("default") {
		return nil, true
	}
	for !p.failed {
		values = append(values, p.settingValue())
		if !p.acceptSymbol(",") {
			break
		}
	}
	return values, false
}

// settingValue takes a var_value.
func (p *parser) settingValue() string {
	for _, keyword := range [...]string{"true", "false", "on"} {
		if p.accept(keyword) {
			return keyword
		}
	}
	sign := ""
	if p.acceptSymbol("-") {
		sign = "-"
	} else if p.acceptSymbol("+") {
		sign = "+"
	}
	if p.tok.kind == number {
		value := strings.TrimPrefix(sign, "+") + integerText(p.raw())
		if value == "-0" {
			value = "0"
		}
		p.advance()
		return value
	}
	p.failed = p.failed || sign != ""
	return p.wordOrText()
}

// integerText returns a number in decimal if it fits an integer of the server's,
// and as it is written if not. Mirrors process_integer_literal.
func integerText(raw string) string {
	base, digits := 10, raw
	if len(raw) > 2 && raw[0] == '0' {
		switch raw[1] | 0x20 {
		case 'x':
			base, digits = 16, raw[2:]
		case 'o':
			base, digits = 8, raw[2:]
		case 'b':
			base, digits = 2, raw[2:]
		}
	}
	if n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), base, 32); err == nil {
		return strconv.FormatInt(n, 10)
	}
	return raw
}
