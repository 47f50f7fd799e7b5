// Package limits is what the processes of a library may use: the setting
// library_limits, as data. Package trampoline puts it into force.
//
// The setting is a list of libraries, each with its limits:
//
//	queue: memory=256MB files=1024 nice=5; "/opt/my lib/x": env.GREETING="good day"; *: no_new_privileges
//
// Exactly one entry holds for a library: the one with its file, else the one
// with its name, else the one of "*". They do not add up.
package limits
