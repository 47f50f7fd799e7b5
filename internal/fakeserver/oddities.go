package fakeserver

import "strings"

// Oddities are servers that no worker can work with, by what is odd about them.
// Where a script lets the client in, the oddity comes with the statement after
// the one that package connect sends first.
var Oddities = map[string]Script{
	// What PostgreSQL itself says.
	"starting":         Refuse("57P03", "the database system is starting up"),
	"shutting down":    Refuse("57P03", "the database system is shutting down"),
	"in recovery":      Refuse("57P03", "the database system is in recovery mode"),
	"full":             Refuse("53300", "sorry, too many clients already"),
	"reserved":         Refuse("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute"),
	"wrong password":   Refuse("28P01", "password authentication failed"),
	"no hba line":      Refuse("28000", "no pg_hba.conf entry"),
	"no database":      Refuse("3D000", "database \"x\" does not exist"),
	"terminates":       Refuse("57P01", "terminating"),
	"crashes":          Refuse("57P02", "crash of another"),
	"terminates later": after(Refuse("57P01", "terminating")),
	"crashes later":    after(Refuse("57P02", "crash of another")),
	"too old":          func(c *Client) { c.WelcomeTo("13.22 (Debian)"); c.Hang() },
	"denies the question": after(func(c *Client) {
		c.Error("42501", "permission denied for function pg_postmaster_start_time")
		c.Hang()
	}),
	// A pooler.
	"pooler": Refuse("08P01", "unsupported startup parameter: statement_timeout"),
	// Silence.
	"hangs":                          (*Client).Hang,
	"hangs in authentication":        Raw("R\x00\x00\x00\x0c\x00\x00\x00\x05salt"),
	"hangs after the login":          func(c *Client) { c.Welcome(); c.Hang() },
	"hangs in a header":              Raw("E\x00\x00"),
	"hangs at the question":          after((*Client).Hang),
	"hangs in the answer":            after(func(c *Client) { c.Columns(2); c.Hang() }),
	"hangs in a message":             after(Raw("D\x00\x00\x00\x40\x00\x02")),
	"hangs with the answer complete": after(func(c *Client) { c.Columns(2); c.Raw("C\x00\x00\x00\x0dSELECT 1\x00"); c.Hang() }),
	// The end.
	"closes":                 func(*Client) {},
	"closes after the login": (*Client).Welcome,
	"closes at the question": after(func(*Client) {}),
	"closes in a header":     func(c *Client) { c.Raw("E\x00\x00") },
	"closes in the answer":   after(func(c *Client) { c.Columns(2); c.Raw("D\x00\x00\x00\x40\x00\x02") }),
	"resets":                 (*Client).Reset,
	"resets in the answer":   after(func(c *Client) { c.Columns(2); c.Reset() }),
	// Not PostgreSQL, or broken.
	"SSH":                     Raw("SSH-2.0-OpenSSH_9.2\r\n"),
	"HTTP":                    Raw("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
	"a TLS alert":             Raw("\x15\x03\x01\x00\x02\x02\x28"),
	"zeros":                   Raw(strings.Repeat("\x00", 100)),
	"a negative length":       Raw("R\xff\xff\xff\xff\x00\x00\x00\x00"),
	"a huge length":           Raw("R" + hugeLength),
	"the largest length":      Raw("S\x7f\xff\xff\xff"),
	"a length too short":      Raw("R\x00\x00\x00\x04"),
	"unknown authentication":  Raw("R\x00\x00\x00\x08\x00\x00\x00\x63"),
	"ready before its time":   Raw("Z\x00\x00\x00\x05I"),
	"a message out of place":  Raw("D\x00\x00\x00\x06\x00\x00"),
	"nonsense in the answer":  after(Raw("SSH-2.0-OpenSSH_9.2\r\n")),
	"a huge length in it":     after(Raw("D" + hugeLength)),
	"a negative length in it": after(Raw("D\xff\xff\xff\xff")),
	"an inner length too long": after(func(c *Client) {
		c.Columns(2)
		c.Raw("D\x00\x00\x00\x0b\x00\x02\x00\x00\x00\xffx")
		c.Hang()
	}),
	// No end.
	"endless notices":             Flood("N\x00\x00\x00\x0dSNOTICE\x00\x00"),
	"endless parameters":          Flood("S\x00\x00\x00\x08a\x00b\x00"),
	"endless notices at login":    func(c *Client) { c.Welcome(); c.Flood("N\x00\x00\x00\x0dSNOTICE\x00\x00") },
	"endless notices in it":       after(Flood("N\x00\x00\x00\x0dSNOTICE\x00\x00")),
	"endless notifications in it": after(Flood("A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00")),
	"endless rows":                after(func(c *Client) { c.Columns(1); c.Flood("D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01t") }),
	"endless answers":             after(Flood("I\x00\x00\x00\x04")),
	// Another kind of answer.
	"says yesterday":        answer([]string{"f", "yesterday"}),
	"says maybe":            answer([]string{"maybe", "1700000000123456"}),
	"says null":             answer([]string{Null, "1700000000123456"}),
	"says no time":          answer([]string{"f", Null}),
	"says nothing":          answer(),
	"an empty row":          answer([]string{}),
	"one column":            answer([]string{"f"}),
	"three columns":         answer([]string{"f", "1700000000123456", "x"}),
	"two rows":              answer([]string{"f", "1700000000123456"}, []string{"f", "1700000000123456"}),
	"an empty query":        after(Raw("I\x00\x00\x00\x04Z\x00\x00\x00\x05I")),
	"an empty greeting":     func(c *Client) { c.Welcome(); _, _ = c.Query(); c.Rows([]string{}); c.Hang() },
	"a greeting of its own": func(c *Client) { c.Welcome(); _, _ = c.Query(); c.Row("hello"); c.Hang() },
}

// hugeLength is the length of a message just below what pgx takes by itself.
const hugeLength = "\x3f\xff\xff\xff"

// after plays a login and then the script, when the client asks something.
func after(script Script) Script {
	return func(c *Client) {
		c.Login()
		if _, ok := c.Query(); ok {
			script(c)
		}
	}
}

// Raw is a script that writes bytes and then hangs.
func Raw(text string) Script {
	return func(c *Client) { c.Raw(text); c.Hang() }
}

// Flood is a script that writes the same bytes without end.
func Flood(text string) Script {
	return func(c *Client) { c.Flood(text) }
}

func answer(rows ...[]string) Script {
	return after(func(c *Client) { c.Rows(rows...); c.Hang() })
}
