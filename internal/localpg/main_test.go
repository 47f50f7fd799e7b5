package localpg

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary runs itself again in one of these roles, to be killed.
const (
	envRole    = "LOCALPG_TEST_ROLE"
	envTempDir = "LOCALPG_TEST_TEMPDIR"

	roleHold     = "hold"     // starts a server, prints its directory and pid, blocks
	rolePopulate = "populate" // blocks between the making of the directory and postgres
	roleInitdb   = "initdb"   // starts a server from scratch, blocks
	roleCycle    = "cycle"    // starts and stops a server, exits 0
	roleChurn    = "churn"    // claims, sweeps and removes directories, exits 0
)

// template is what most tests start from.
var template *Template

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(play(role, Options{TempDir: os.Getenv(envTempDir)}))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	template, err = NewTemplate(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := template.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func play(role string, opts Options) int {
	ctx := context.Background()
	if role == roleChurn {
		return churn(opts.TempDir)
	}
	if role == rolePopulate {
		opts.Populate = func(_ context.Context, dataDir string) error {
			fmt.Println(filepath.Dir(dataDir), 0)
			block()
			return nil
		}
	}
	s, err := Start(ctx, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if role == roleCycle {
		if err := s.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	fmt.Println(s.Dir(), s.Pid())
	block()
	return 0
}

// block returns when the parent closes standard input or is gone.
func block() { _, _ = io.Copy(io.Discard, os.Stdin) }

// actor is the test binary in a role.
type actor struct {
	cmd *exec.Cmd
	out *bufio.Reader
	in  io.Closer
}

func startActor(t *testing.T, role, tempDir string) *actor {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, envTempDir+"="+tempDir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	a := &actor{cmd: cmd, out: bufio.NewReader(out), in: in}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	})
	return a
}

// ready waits for the actor's line: directory and pid of its server.
func (a *actor) ready(t *testing.T) (dir string, pid int) {
	t.Helper()
	line, err := a.out.ReadString('\n')
	check(t, err)
	_, err = fmt.Sscan(strings.TrimSpace(line), &dir, &pid)
	check(t, err)
	return dir, pid
}

// kill9 returns when the kernel has reaped the actor.
func (a *actor) kill9(t *testing.T) {
	t.Helper()
	check(t, a.cmd.Process.Kill())
	_ = a.cmd.Wait()
}
