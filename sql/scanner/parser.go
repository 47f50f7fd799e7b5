package scanner

import "strings"

// parser takes the tokens of one statement apart, by the rules of gram.y.
type parser struct {
	begin  lexer // at the start of the statement
	lexer  lexer // behind tok
	tok    token
	before [3]token // the tokens before tok, the last one first
	isUTF8 bool
	failed bool // the statement is not what it seemed to be
}

func newParser(l lexer, isUTF8 bool) *parser {
	p := &parser{begin: l, lexer: l, isUTF8: isUTF8}
	p.advance()
	return p
}

// advance goes to the next token.
func (p *parser) advance() {
	p.before = [3]token{p.tok, p.before[0], p.before[1]}
	p.tok = p.lexer.next()
}

// raw is the current token as written.
func (p *parser) raw() string { return p.lexer.sql[p.tok.start:p.tok.end] }

// isWord reports whether the current token is a keyword, unquoted.
func (p *parser) isWord(keyword string) bool {
	return p.tok.kind == word && strings.EqualFold(p.raw(), keyword)
}

// isSymbol reports whether the current token is a sign.
func (p *parser) isSymbol(sign string) bool { return p.tok.kind == symbol && p.raw() == sign }

// accept goes behind these keywords if they are all there, and nowhere if not.
func (p *parser) accept(keywords ...string) bool {
	before := *p
	for _, k := range keywords {
		if !p.isWord(k) {
			*p = before
			return false
		}
		p.advance()
	}
	return true
}

// follows reports whether the token before is this sign.
func (p *parser) follows(sign string) bool {
	t := p.before[0]
	return t.kind == symbol && p.lexer.sql[t.start:t.end] == sign
}

// followsWords reports whether the tokens before are these keywords, unquoted.
func (p *parser) followsWords(keywords ...string) bool {
	for i, k := range keywords {
		t := p.before[len(keywords)-1-i]
		if t.kind != word || !strings.EqualFold(p.lexer.sql[t.start:t.end], k) {
			return false
		}
	}
	return true
}

// acceptSymbol goes behind a sign if it is there.
func (p *parser) acceptSymbol(sign string) bool {
	if !p.isSymbol(sign) {
		return false
	}
	p.advance()
	return true
}

// expect is accept for what has to be there.
func (p *parser) expect(keyword string) {
	if !p.accept(keyword) {
		p.failed = true
	}
}

// wholly returns a command if nothing was missing in it and nothing follows.
func (p *parser) wholly(c Command) Command {
	if p.failed || p.tok.kind != endOfText {
		return nil
	}
	return c
}

// name takes a ColId: a name that is no reserved word and, unquoted, not the name of
// a function either.
func (p *parser) name() string {
	if p.tok.kind == word && (isReserved(p.raw()) || isTypeOrFunction(p.raw())) || p.tok.kind == text {
		p.failed = true
	}
	return p.value()
}

// wordOrText takes a NonReservedWord_or_Sconst.
func (p *parser) wordOrText() string {
	if p.tok.kind == word && isReserved(p.raw()) {
		p.failed = true
	}
	return p.value()
}

// text takes an Sconst.
func (p *parser) text() string {
	if p.tok.kind != text {
		p.failed = true
	}
	return p.value()
}

// value takes a word or a text, whichever.
func (p *parser) value() string {
	value, ok := p.lexer.value(p.tok, p.isUTF8)
	p.failed = p.failed || !ok
	p.advance()
	return value
}

// setting takes a var_name: names with dots between.
func (p *parser) setting() string {
	name := p.name()
	for !p.failed && p.acceptSymbol(".") {
		name += "." + p.name()
	}
	return name
}

// pluginSetting is setting for a name that has to have a dot.
func (p *parser) pluginSetting() string {
	name := p.name()
	if !p.isSymbol(".") {
		p.failed = true
	}
	for !p.failed && p.acceptSymbol(".") {
		name += "." + p.name()
	}
	return name
}
