package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// verdict is what became of a break.
type verdict string

const (
	caught   verdict = "caught"
	survived verdict = "SURVIVED"
	stale    verdict = "STALE"
)

// failedBuild is what go test says of a package that does not compile.
const failedBuild = "[build failed]"

// judge breaks the product, runs the tests, and says whether one of them failed.
// It returns an error only if it can't tell.
func (b *mutant) judge(ctx context.Context) (v verdict, output string, err error) {
	source, err := os.ReadFile(b.file)
	if err != nil {
		return stale, err.Error() + "\n", nil
	}
	broken, err := b.apply(string(source))
	if err != nil {
		return stale, err.Error() + "\n", nil
	}
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := writeOverlay(dir, b.file, broken)
	if err != nil {
		return "", "", err
	}
	out, err := goTool(ctx, overlay, slices.Concat([]string{"test", "-vet=off", "-count=1", "-failfast", "-timeout=5m"}, b.test))
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		return "", out, ctx.Err()
	case err == nil && ranNothing(out), err != nil && strings.Contains(out, failedBuild):
		return stale, out, nil
	case err == nil:
		return survived, out, nil
	case errors.As(err, &exit):
		return caught, out, nil
	}
	return "", out, err
}

// ranNothing tells from the output of go test that no package had a test to run.
func ranNothing(out string) bool {
	return strings.Count(out, "ok  \t") == strings.Count(out, "[no tests to run]")
}

// packages are the arguments of the tests that name packages.
func (b *mutant) packages() []string {
	return slices.DeleteFunc(slices.Clone(b.test), func(arg string) bool { return !strings.HasPrefix(arg, "./") })
}

func writeOverlay(dir, file, text string) (string, error) {
	original, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(replacement, []byte(text), 0o600); err != nil { //nolint:gosec // G703: a temporary directory of our own
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// goTool runs the go command with an overlay. That is in the environment, so that
// programs which the tests build are broken, too.
func goTool(ctx context.Context, overlay string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
