// Command findpg prints the directory of the PostgreSQL server programs that
// the demo and the tests would use. It fails, saying what to install, if there
// are none. The Makefile asks it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

func main() {
	found, err := localpg.Find(context.Background(), "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("PostgreSQL %s in %s (%s)\n", found.Version, found.Dir, found.Source)
}
