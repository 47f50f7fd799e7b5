//go:build !failpoints

package failpoint

// Here is a point that this process passes.
func Here(Point) {}

// Of is a point that the host passes while it is busy with a child, whose pid is
// given, or 0 if that has none any more.
func Of(Point, int) {}
