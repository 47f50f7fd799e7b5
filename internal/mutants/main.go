package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	verbose := flags.Bool("v", false, "show the output of the tests")
	dir := flags.String("breaks", "internal/mutants/breaks", "directory of the breaks")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(strings.Join(flags.Args(), " "))
	if err != nil {
		return err
	}
	all, err := readBreaks(*dir)
	if err != nil {
		return err
	}
	var bad int
	for _, b := range all {
		if !wanted.MatchString(b.chapter + ": " + b.title + " " + b.file) {
			continue
		}
		begin := time.Now()
		verdict, output, err := b.judge(ctx)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", b.where, b.title, err)
		}
		fmt.Fprintf(out, "%-8s  %s: %s (%.1fs)\n", verdict, b.chapter, b.title, time.Since(begin).Seconds())
		if *verbose || verdict == stale {
			fmt.Fprint(out, output)
		}
		if verdict != caught {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d breaks survived or are stale", bad)
	}
	return nil
}
