// Package settings owns the list of the host's own settings and the sample of
// its configuration file: the one table that the postmaster, its children and
// the documentation share. What the settings are called and mean is
// PostgreSQL's where it has them. The machinery is package guc's.
//
// Invariants:
//
//   - Every setting is in the sample file, commented out, with its default.
//   - The table is the same in every process of a host: they are one program.
package settings
