package host

import (
	"os"
	"strings"

	"github.com/pgexthost/pgexthost/internal/handshake"
)

// inherited lists the environment variables that children get to see; a name
// that ends in "*" stands for all that begin with it. Whatever else the host's
// environment holds is none of a worker's business.
var inherited = []string{
	"PG*", "HOME", "USER", "LOGNAME", "PATH", "TZ", "LANG", "LC_*", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"GOMEMLIMIT", "GOMAXPROCS", "GOGC", "GODEBUG", "GOTRACEBACK", "GORACE", "GOCOVERDIR", "TMPDIR",
}

func childEnvironment() []string {
	env := []string{handshake.EnvChild + "=1"}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name != handshake.EnvChild && isInherited(name) {
			env = append(env, variable)
		}
	}
	return env
}

func isInherited(name string) bool {
	for _, pattern := range inherited {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, prefix) || pattern == name {
			return true
		}
	}
	return false
}
