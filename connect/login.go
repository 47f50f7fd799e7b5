package connect

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgservicefile"
)

// nobody is the name of a role that no password file has a line for.
const nobody = "\x01pgexthost\x01"

// ownLogin returns the settings for a role that has a login of its own, or nil.
// It has one where its owner has written the role's name beside a password:
//
//   - in the password file, on the line that psql would use for this server,
//     database and role. One for all users is not the role's, nor is one that
//     gives it the password of all;
//   - else in the service file, in a section whose user is the role and whose host
//     and port, and dbname if there is one, are those in use.
//
// The password of server_conninfo, of its service and of PGPASSWORD is that of
// the host's own user, and is sent for no other. All but user and password stay
// as server_conninfo has them: where to connect, and how safely.
func (c *Config) ownLogin(role, database string) (*Config, error) {
	own, err := c.loginByPasswordFile(role, database)
	if err != nil {
		return nil, err
	}
	everybody, err := c.loginByPasswordFile(nobody, database)
	if err != nil {
		return nil, err
	}
	if own.pgx.Password != everybody.pgx.Password {
		return own, nil
	}
	if password := c.servicePassword(role, database); password != "" {
		own.pgx.Password = password
		return own, nil
	}
	return nil, nil
}

// loginByPasswordFile returns the settings for a role, with no password but that
// of the password file. Its path may come from anywhere that pgx looks, so pgx
// looks it up.
func (c *Config) loginByPasswordFile(role, database string) (*Config, error) {
	conninfo := c.with(parameter{"user", role}, parameter{"password", ""}, parameter{"dbname", database})
	parsed, err := parse(conninfo)
	if err != nil {
		return nil, err
	}
	return &Config{conninfo: conninfo, pgx: parsed}, nil
}

// servicePassword returns the password that the service file has for a role, or
// "". A file that is not there, or cannot be read, has none.
func (c *Config) servicePassword(role, database string) string {
	for _, f := range c.pgx.Fallbacks {
		if f.Host != c.pgx.Host || f.Port != c.pgx.Port {
			return "" // it would be sent to a server that the section does not name
		}
	}
	home, _ := os.UserHomeDir()
	file, err := pgservicefile.ReadServicefile(cmp.Or(os.Getenv("PGSERVICEFILE"), filepath.Join(home, ".pg_service.conf")))
	if err != nil {
		return ""
	}
	port := strconv.Itoa(int(c.pgx.Port))
	for _, section := range file.Services {
		s := section.Settings
		if s["user"] == role && s["host"] == c.pgx.Host && cmp.Or(s["port"], "5432") == port && cmp.Or(s["dbname"], database) == database && s["password"] != "" {
			return s["password"]
		}
	}
	return ""
}
