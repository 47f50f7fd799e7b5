// Package failpoint has named points in the host and its children at which a test
// can kill one of them, or stop it to look around. They exist only in programs
// built with the tag failpoints: in all others [Here] and [Of] are empty, and
// the compiler leaves nothing of them.
//
// What is to happen is told by two environment variables, which children
// inherit. [Variable] holds what to do where, separated by semicolons:
//
//	POINT[/PROCESS]=ACTION[@N]
//
//	launch: forked/w=kill child@2
//
// POINT is a name from points.go, or "*" for all. PROCESS is the title of the
// child that is there, or that the host is busy with, and without it the point
// is everybody's. The action takes place when the point is passed for the Nth
// time, the first unless said otherwise, counted over all processes and so only
// once. Actions are
//
//	kill host    SIGKILL for the host
//	kill child   SIGKILL for the child that is there, or that the host is busy with
//	stop         SIGSTOP for the process that is there
//	count        nothing
//
// and whoever kills another goes on when that is dead. [Dir] names a
// directory with one file for each spec that was reached. It has a byte for each
// time that was passed: see [Passed]. Use another for each host.
package failpoint

// The environment variables.
const (
	Variable = "PGEXTHOST_FAILPOINTS"
	Dir      = "PGEXTHOST_FAILPOINTS_DIR"
)
