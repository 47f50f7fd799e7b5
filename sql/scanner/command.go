package scanner

// Command is a statement that concerns the host: [CreateExtension],
// [DropExtension], [AlterExtensionUpdate], [Load], [Show], [Set], [Reset] or
// [AlterSystem], by value. Names are as PostgreSQL understands them: folded to lower
// case unless quoted, and cut at 63 bytes.
//
// Statements that the grammar takes but the server would refuse for what they say
// twice (SCHEMA a SCHEMA b) are none: let it do so.
type Command interface{ command() }

// CreateExtension is CREATE EXTENSION [IF NOT EXISTS] name [WITH] [SCHEMA name]
// [VERSION version] [CASCADE].
type CreateExtension struct {
	Name            string
	IfNotExists     bool
	Schema, Version string // empty if not given
	Cascade         bool
}

// DropExtension is DROP EXTENSION [IF EXISTS] name, … [CASCADE|RESTRICT].
type DropExtension struct {
	Names    []string
	IfExists bool
	Cascade  bool
}

// AlterExtensionUpdate is ALTER EXTENSION name UPDATE [TO version].
type AlterExtensionUpdate struct {
	Name string
	To   string // empty if not given
}

// Load is LOAD 'file'.
type Load struct{ File string }

// Show is SHOW name, for a name with a dot.
type Show struct{ Name string }

// Set is SET [SESSION|LOCAL] name {TO|=} {value, …|DEFAULT}, for a name with a dot.
// Such a name is a plugin's setting: what else SET can say is the server's own.
type Set struct {
	Name string
	// Values are texts as PostgreSQL makes them (flatten_set_variable_args):
	// words folded unless quoted, integers in decimal, other numbers as written. A
	// setting that is not a list takes one of them.
	Values    []string
	Local     bool
	ToDefault bool // then there are no Values
}

// Reset is RESET name, for a name with a dot, or RESET ALL.
type Reset struct {
	Name string
	All  bool // then there is no Name
}

// AlterSystem is ALTER SYSTEM SET name {TO|=} {value, …|DEFAULT}, ALTER SYSTEM RESET
// name or ALTER SYSTEM RESET ALL, for names with or without a dot.
type AlterSystem struct {
	Name      string
	Values    []string // as in Set
	Reset     bool
	ToDefault bool
	All       bool // then Reset is set, and there is no Name
}

func (CreateExtension) command()      {}
func (DropExtension) command()        {}
func (AlterExtensionUpdate) command() {}
func (Load) command()                 {}
func (Show) command()                 {}
func (Set) command()                  {}
func (Reset) command()                {}
func (AlterSystem) command()          {}
