package scanner

// clause is what a comma separates at a level.
type clause uint8

const (
	expressions clause = iota // columns, arguments, or anything else
	tables                    // FROM, or the USING of DELETE and MERGE
	ctes                      // WITH
)

// level is what a finder knows about where it is between two parentheses.
//
//	        SELECT, WHERE, GROUP, …
//	┌─────────────┐            FROM, USING ┌────────┐  JOIN, comma   ┌───────────────┐
//	│ expressions ├───────────────────────►│ tables │◄──────────────►│ a table is    │
//	└─────────────┘◄───────────────────────┤        │  name, "("     │ to come: wants│
//	                                       └────────┘                └───────────────┘
type level struct {
	clause  clause
	started bool // a token has been here
	query   bool // FROM begins a clause: it is none of extract(x FROM y)
	insert  bool // WITH may come after INSERT INTO t
	using   bool // the next USING begins a clause: that of DELETE and MERGE
	wants   bool // a table is to come, or the name of a CTE
	target  bool // what is to be written to is to come
	on      bool // in the condition of a join
}

// finder goes through a query, keeps track of the clause it is in, and so tells
// names of relations and functions from all that looks like them.
type finder struct {
	*parser
	levels []level
	found  []candidate
	ctes   map[string]bool // the names of ours that a WITH gives to something else
}

// find returns the references from here to the end, or none if parentheses don't
// match.
func (f *finder) find() []Reference {
	for f.tok.kind != endOfText {
		if !f.step() {
			return nil
		}
	}
	if len(f.levels) != 1 {
		return nil
	}
	return f.meant()
}

// meant returns the candidates that are what their names say, now that all of the
// statement is known. A name without a schema is that of a CTE first. A column with
// all its qualifications needs the relation itself in FROM.
func (f *finder) meant() []Reference {
	relations := map[string]bool{}
	isMeant := func(c candidate) bool { return c.function || c.qualified || !f.ctes[c.Name] }
	for _, c := range f.found {
		relations[c.Name] = relations[c.Name] || !c.column && isMeant(c)
	}
	var all []Reference
	for _, c := range f.found {
		if isMeant(c) && relations[c.Name] {
			all = append(all, c.Reference)
		}
	}
	return all
}

// here is the innermost level.
func (f *finder) here() *level { return &f.levels[len(f.levels)-1] }

// step takes one token, or a name of several. False means that the parentheses
// don't match.
func (f *finder) step() bool {
	l := f.here()
	switch {
	case l.wants && l.clause == ctes:
		f.cte(l)
	case f.tok.kind == word && !f.follows(".") && !f.followsWords("as"):
		if !f.keyword(l) {
			f.name(l)
			return true // which is behind it already
		}
	case f.isSymbol("("), f.isSymbol("["):
		inner := level{}
		if l.wants {
			inner = level{clause: tables, wants: true}
		}
		l.pass()
		f.levels = append(f.levels, inner)
	case f.isSymbol(")"), f.isSymbol("]"):
		f.levels = f.levels[:len(f.levels)-1]
		if len(f.levels) == 0 {
			return false
		}
	case f.isSymbol(","):
		l.pass()
		l.wants = l.clause != expressions
		l.on = false
	default:
		l.pass()
	}
	f.advance()
	return true
}

// pass notes that something has come, whether it was wanted or not.
func (l *level) pass() { l.started, l.wants, l.target = true, false, false }

// enter begins a clause, in which something may be wanted at once.
func (l *level) enter(c clause, wants bool) {
	l.pass()
	l.clause, l.wants, l.on = c, wants, false
}

// cte takes the name of a CTE, or RECURSIVE, which could be one.
func (f *finder) cte(l *level) {
	if f.isWord("recursive") && f.followsWords("with") {
		ahead := *f.parser
		if ahead.advance(); !ahead.isWord("as") && !ahead.isSymbol("(") {
			return
		}
	}
	l.pass()
	if name, ok := f.lexer.value(f.tok, f.isUTF8); ok {
		if r, ours := redirectionOf(name); ours && r.name == name {
			f.ctes[name] = true
		}
	}
}

// keyword takes a word that is neither behind a dot nor behind AS, and reports
// whether it belongs to the query. Reserved words do unless they are labels of
// columns, after which no table is named; of the others the place decides.
func (f *finder) keyword(l *level) bool {
	first := !l.started || l.clause == ctes
	switch lower := fold(f.raw()); lower {
	case "select":
		l.enter(expressions, false)
		l.query = true
	case "from":
		isClause := (l.query || l.clause == tables) && !f.followsWords("is", "distinct") && !f.followsWords("is", "not", "distinct")
		if isClause {
			l.enter(tables, true)
		} else {
			l.pass()
		}
	case "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "union", "intersect", "except", "returning", "do":
		l.enter(expressions, false)
	case "on":
		l.pass()
		l.on = true
	case "into":
		l.pass()
		l.target = true
	case "lateral", "only":
		l.started = true
	case "table":
		if !l.target { // INTO TABLE t
			l.enter(expressions, true)
		}
	case "temp", "temporary", "unlogged", "local", "global":
		return l.target
	case "with":
		if !l.started || l.insert && !l.query {
			l.enter(ctes, true)
		} else {
			l.pass()
		}
	default:
		return f.joinWord(l) || first && l.begins(lower)
	}
	return true
}

// joinWord is keyword for those that belong to the query in some clauses only.
func (f *finder) joinWord(l *level) bool {
	switch {
	case f.isWord("join") && l.clause == tables:
		l.enter(tables, true)
	case f.isWord("using") && l.using:
		l.using = false
		l.enter(tables, true)
	case f.isWord("matched") && (f.followsWords("when") || f.followsWords("when", "not")):
		l.enter(expressions, false)
	default:
		return false
	}
	return true
}

// begins takes a word that begins what comes first at a level, or behind a WITH.
func (l *level) begins(keyword string) bool {
	switch keyword {
	case "insert":
		l.insert = true
	case "update":
		l.query = true
	case "delete", "merge":
		l.using = true
	case "values":
	default:
		return false
	}
	l.enter(expressions, false)
	return true
}

// name takes a name, and keeps it if it is one of ours where ours are meant.
func (f *finder) name(l *level) {
	was, cast := *l, f.follows("::")
	l.pass()
	c, ok := f.redirectedName()
	if !ok || was.target || cast {
		return
	}
	switch {
	case f.isSymbol("("):
		isAlias := was.clause == tables && !was.wants && !was.on // t (a, b)
		if c.function && !isAlias && was.clause != ctes {
			f.found = append(f.found, c)
		}
	case f.isSymbol("."):
		c.column = true
		if !c.function && c.qualified && !was.wants {
			f.found = append(f.found, c)
		}
	case !c.function && was.wants:
		f.found = append(f.found, c)
	}
}
