package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one deliberate break.
type mutant struct {
	chapter string   // the file it is in, without its ending
	where   string   // that file, and the line of the title
	title   string   // the rule that is broken
	file    string   // of the product, from the root of the tree
	test    []string // arguments of go test
	old     string   // the lines to replace
	new     string
}

// readBreaks reads all breaks of a directory, in the order of the file names.
func readBreaks(dir string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		breaks, err := parseBreaks(file, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, breaks...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no breaks in %s", dir)
	}
	return all, nil
}

func parseBreaks(file, text string) ([]mutant, error) {
	var all []mutant
	var b *mutant
	for i, line := range strings.Split(text, "\n") {
		where := fmt.Sprintf("%s:%d", file, i+1)
		title, isTitle := strings.CutPrefix(line, "## ")
		if isTitle {
			all = append(all, mutant{chapter: strings.TrimSuffix(filepath.Base(file), ".txt"), where: where, title: title})
			b = &all[len(all)-1]
			continue
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if b == nil {
			return nil, fmt.Errorf("%s: a break begins with \"## \" and its title", where)
		}
		if err := b.addLine(line); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
	}
	for _, b := range all {
		if b.file == "" || len(b.test) == 0 || b.old == "" {
			return nil, fmt.Errorf("%s: a break needs a line \"in FILE\", one \"test ARGUMENTS\", and lines with \"-\"", b.where)
		}
	}
	return all, nil
}

func (b *mutant) addLine(line string) error {
	switch {
	case strings.HasPrefix(line, "-"):
		if b.new != "" {
			return fmt.Errorf("lines with \"-\" come before those with \"+\"")
		}
		b.old += line[1:] + "\n"
	case strings.HasPrefix(line, "+"):
		b.new += line[1:] + "\n"
	case strings.HasPrefix(line, "in "):
		b.file = strings.TrimPrefix(line, "in ")
	case strings.HasPrefix(line, "test "):
		b.test = strings.Fields(strings.TrimPrefix(line, "test "))
	default:
		return fmt.Errorf("unexpected line: %s", line)
	}
	return nil
}

// apply returns the broken file. A break that does not apply exactly once is an
// error: nobody knows what it would break.
func (b *mutant) apply(source string) (string, error) {
	source = "\n" + source // so that the first line begins like the others
	old := "\n" + b.old
	at := strings.Index(source, old)
	switch {
	case at < 0:
		return "", fmt.Errorf("the lines to replace are not in %s", b.file)
	case strings.Contains(source[at+1:], old):
		return "", fmt.Errorf("the lines to replace are in %s more than once", b.file)
	}
	return source[1:at+1] + b.new + source[at+len(old):], nil
}
