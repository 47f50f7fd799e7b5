//go:build failpoints

package failpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// spec is what is to happen at a point.
type spec struct {
	point   string // "*": at all
	process string // empty: of every process
	action  action
	nth     int
}

type action string

const (
	killHost  action = "kill host"
	killChild action = "kill child"
	stop      action = "stop"
	count     action = "count"
)

// parse reads the value of [Variable].
func parse(text string) ([]spec, error) {
	var specs []spec
	for part := range strings.SplitSeq(text, ";") {
		if part == "" {
			continue
		}
		where, what, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("failpoint \"%s\" has no action", part)
		}
		s := spec{nth: 1}
		s.point, s.process, _ = strings.Cut(where, "/")
		what, nth, counted := strings.Cut(what, "@")
		s.action = action(what)
		if counted {
			n, err := strconv.Atoi(nth)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("failpoint \"%s\" has no valid number", part)
			}
			s.nth = n
		}
		if s.point != "*" && !slices.Contains(names[:], s.point) {
			return nil, fmt.Errorf("there is no failpoint \"%s\"", s.point)
		}
		if !slices.Contains([]action{killHost, killChild, stop, count}, s.action) {
			return nil, fmt.Errorf("failpoints have no action \"%s\"", what)
		}
		specs = append(specs, s)
	}
	return specs, nil
}
