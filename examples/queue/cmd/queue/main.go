// Command queue is the library of package queue as an executable, without any
// handler of its own: its jobs are functions of the database, of the schemas in
// queue.function_schemas. For handlers in Go, copy it and give Library yours.
package main

import (
	"github.com/pgexthost/pgexthost/examples/queue"
	"github.com/pgexthost/pgexthost/plugins"
)

func main() { plugins.Main(queue.Library(nil)) }
