package plugins_test

import (
	"fmt"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
)

// The function that is returned always has the value in force. In the files a
// time may have any unit; without one it is in that of the setting.
func ExampleInit_DefineCustomDuration() {
	var naptime func() time.Duration
	initialize := func(p *plugins.Init) error {
		naptime = p.DefineCustomDuration(plugins.DurationVariable{
			Name: "mine.naptime", Description: "Time between two rounds.",
			Default: time.Minute, Min: time.Second, Max: time.Hour, Unit: time.Second,
		})
		p.MarkGUCPrefixReserved("mine") // what else begins with "mine." is a mistake
		return nil
	}
	// The host does what follows: at the start of a worker, and at a reload.
	process, err := plugins.Load("mine.naptime = 90", initialize)
	fmt.Println(naptime(), err)
	process.Reload("mine.naptime = '2 min'")
	fmt.Println(naptime(), process.Show("mine.naptime"))
	process.Reload("mine.naptime = 2d") // too long: the host's log says so
	fmt.Println(naptime())
	// Output:
	// 1m30s <nil>
	// 2m0s 2min
	// 2m0s
}

func ExampleInit_DefineCustomBool() {
	var enabled func() bool
	_, err := plugins.Load("mine.enabled = off", func(p *plugins.Init) error {
		enabled = p.DefineCustomBool(plugins.BoolVariable{Name: "mine.enabled", Description: "Whether it works.", Default: true})
		return nil
	})
	fmt.Println(enabled(), err)
	// Output: false <nil>
}

// The value is spelled as in Options, however the file has it.
func ExampleInit_DefineCustomEnum() {
	var order func() string
	process, err := plugins.Load("mine.order = NEWEST", func(p *plugins.Init) error {
		order = p.DefineCustomEnum(plugins.EnumVariable{
			Name: "mine.order", Description: "Which rows come first.", Default: "oldest", Options: []string{"oldest", "newest"},
		})
		return nil
	})
	fmt.Println(order(), err)
	process.Reload("mine.order = biggest") // none of Options
	fmt.Println(order())
	process.Reload("") // the line is gone: the default is back
	fmt.Println(order())
	// Output:
	// newest <nil>
	// newest
	// oldest
}

// A setting that takes a restart of the host belongs to context postmaster.
func ExampleInit_DefineCustomString() {
	var database func() string
	process, err := plugins.Load("mine.database = sales", func(p *plugins.Init) error {
		database = p.DefineCustomString(plugins.StringVariable{
			Name: "mine.database", Description: "Database to work in.", Context: plugins.PGCPostmaster,
		})
		return nil
	})
	fmt.Println(database(), err)
	process.Reload("mine.database = other")
	fmt.Println(database())
	// Output:
	// sales <nil>
	// sales
}
