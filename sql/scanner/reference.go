package scanner

// references returns the names in the statement that may be redirected. None, if it
// stores its text or makes something that outlives it and refers to them.
func (p *parser) references() []Reference {
	if p.accept("explain") {
		p.explainOptions()
	}
	switch {
	case p.isQuery(), p.isWord("insert"), p.isWord("update"), p.isWord("delete"), p.isWord("merge"):
	case p.accept("create"):
		if !p.createTableAs() {
			return nil
		}
	case p.accept("prepare"):
		p.skipBehind("as")
	case p.accept("declare"):
		p.skipBehind("for")
	case p.accept("call"), p.accept("execute"):
		p.skipName()
	case p.accept("copy"):
		if !p.isSymbol("(") {
			return p.copyTo()
		}
	default:
		return nil
	}
	p.before = [3]token{}
	f := finder{parser: p, levels: make([]level, 1), ctes: map[string]bool{}}
	return f.find()
}

// isQuery reports whether a SELECT in one of its forms begins here.
func (p *parser) isQuery() bool {
	return p.isWord("select") || p.isWord("with") || p.isWord("values") || p.isWord("table") || p.isSymbol("(")
}

// explainOptions goes behind the options of EXPLAIN. A parenthesis may be a query's.
func (p *parser) explainOptions() {
	if p.accept("analyze") || p.accept("analyse") {
		p.accept("verbose")
		return
	}
	if p.accept("verbose") || !p.isSymbol("(") {
		return
	}
	before := *p
	if p.advance(); p.isQuery() {
		*p = before
		return
	}
	for depth := 1; depth > 0 && p.tok.kind != endOfText; p.advance() {
		depth += p.deeper()
	}
}

// deeper is 1 at an opening parenthesis, -1 at a closing one.
func (p *parser) deeper() int {
	switch {
	case p.isSymbol("("):
		return 1
	case p.isSymbol(")"):
		return -1
	}
	return 0
}

// skipBehind goes behind a keyword that is not in parentheses, or to the end.
func (p *parser) skipBehind(keyword string) {
	for depth := 0; p.tok.kind != endOfText; p.advance() {
		depth += p.deeper()
		if depth == 0 && p.accept(keyword) {
			return
		}
	}
}

// skipName goes behind a name with its schema: that of a procedure, or of a
// prepared statement, is none of ours.
func (p *parser) skipName() {
	for p.advance(); p.acceptSymbol("."); {
		p.advance()
	}
}

// createTableAs goes to the query of CREATE TABLE AS. Its rows are copied, so that
// nothing of it is left in the table; a view would keep it.
func (p *parser) createTableAs() bool {
	if !p.accept("global") {
		p.accept("local")
	}
	if !p.accept("temp") && !p.accept("temporary") {
		p.accept("unlogged")
	}
	if !p.accept("table") {
		return false
	}
	p.skipBehind("as")
	if p.accept("execute") {
		p.skipName()
	}
	return true
}

// copyTo returns the relation of COPY … TO.
func (p *parser) copyTo() []Reference {
	p.accept("binary")
	r, ok := p.redirectedName()
	if p.isSymbol("(") {
		for depth := 0; p.tok.kind != endOfText; {
			depth += p.deeper()
			if p.advance(); depth == 0 {
				break
			}
		}
	}
	if !ok || r.function || !p.isWord("to") {
		return nil
	}
	return []Reference{r.Reference}
}

// candidate is a name of ours, that may stand for something else.
type candidate struct {
	Reference
	function  bool // by its name
	qualified bool // by pg_catalog
	column    bool // it qualifies a column
}

// redirectedName goes behind a name of ours, with or without "pg_catalog.". If it is
// another, it goes behind its first word only.
func (p *parser) redirectedName() (candidate, bool) {
	start := p.tok.start
	qualified := p.isWord("pg_catalog")
	if qualified {
		p.advance()
		if !p.acceptSymbol(".") {
			return candidate{}, false
		}
	}
	if p.tok.kind != word {
		if !qualified {
			p.advance()
		}
		return candidate{}, false
	}
	c := candidate{Reference: Reference{Start: start, End: p.tok.end}, qualified: qualified}
	if r, ok := redirectionOf(p.raw()); ok {
		c.Name, c.function = r.name, r.function
		p.advance()
		return c, true
	}
	if !qualified {
		p.advance()
	}
	return candidate{}, false
}
