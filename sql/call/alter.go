package call

import (
	"context"
	"encoding/json"
)

// alterer changes the host's settings.
type alterer struct{ host Host }

// alteration is the argument of "alter", as pgexthost.alter_host makes it.
type alteration struct {
	Name  string  `json:"name"`  // empty: all are reset
	Value *string `json:"value"` // null: it is reset
}

// alter changes pgexthost.auto.conf, which a rollback does not undo. Mirrors
// AlterSystemSetConfigFile, but for the rights, which are the function's to check.
func (a alterer) alter(_ context.Context, _ *Session, argument string) (reply, error) {
	var wanted alteration
	if err := json.Unmarshal([]byte(argument), &wanted); err != nil {
		return reply{}, err
	}
	return null, a.host.AlterSystem(wanted.Name, wanted.Value)
}
