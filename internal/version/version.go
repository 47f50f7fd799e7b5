// Package version says which pgexthost this is.
package version

// Number is the version of this program, and Personality the PostgreSQL major
// version whose background workers it behaves like.
const (
	Number      = "0.1.0"
	Personality = 18
)
