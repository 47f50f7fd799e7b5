package trampoline

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// asTrampoline is the value of handshake.EnvChild that makes a process one, and
// orderVariable holds what it shall do.
const (
	asTrampoline  = "trampoline"
	orderVariable = "PGEXTHOST_LIMITS"
)

// Order is what a trampoline shall do.
type Order struct {
	Program string // to execute
	Data    int64  // how much of its memory is the program's own variables, in bytes
	Library string // that it is for, as messages call it
	Limits  *limits.Limits
}

// Environment returns the environment in which the host's own program, in the
// place of another, puts limits into force and executes the other. Env is that
// of the other without the limits' own changes, with handshake.EnvChild in it.
func (o Order) Environment(env []string) []string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // texts and numbers can be encoded
	}
	result := []string{handshake.EnvChild + "=" + asTrampoline, orderVariable + "=" + string(text)}
	return append(result, without(env, handshake.EnvChild)...)
}

func init() { //nolint:gochecknoinits // see the package's documentation
	if os.Getenv(handshake.EnvChild) != asTrampoline {
		return
	}
	var o Order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		report(elog.New(elog.Error, elog.InternalError, "could not read what limits to apply: %v", err))
	}
	report(o.carryOut())
}

// carryOut ends with the execution of the program. It returns why it could not.
func (o *Order) carryOut() *elog.ErrorData {
	env := append([]string{handshake.EnvChild + "=1"}, o.Limits.Environment(without(os.Environ(), handshake.EnvChild, orderVariable))...)
	for _, step := range []func() *elog.ErrorData{o.setDirectory, o.setNice, o.setFiles, o.setNoNewPrivileges, o.setMemory} {
		if problem := step(); problem != nil {
			return problem
		}
	}
	// The message is made before memory is short.
	problem := elog.New(elog.Error, elog.InternalError, "could not execute \"%s\": ", o.Program)
	err := execute(o.Program, env)
	problem.Code = elog.FileAccessCode(err)
	problem.Message += elog.OSReason(err)
	return problem
}

// patience is how long what may pass is waited for, as the host waits when it
// starts a program by itself.
const patience = 10 * time.Second

// execute returns only if it fails.
func execute(program string, env []string) error {
	for began := time.Now(); ; pause() {
		err := syscall.Exec(program, os.Args, env) //nolint:gosec // what the host has found under a library's name
		mayPass := errors.Is(err, unix.ETXTBSY) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM)
		if !mayPass || time.Since(began) > patience {
			return err
		}
	}
}

// pause waits a little. It ends the process if the host dies meanwhile: the
// kernel's signal waits for the program, but nobody waits for that any more.
func pause() {
	lifeline := []unix.PollFd{{Fd: handshake.FDLifeline, Events: unix.POLLIN}}
	if n, err := unix.Poll(lifeline, 50); n > 0 && err == nil { // milliseconds
		os.Exit(1)
	}
}

// report tells the host, in the place of the program, why it does not run.
func report(problem *elog.ErrorData) {
	socket := os.NewFile(handshake.FDSocket, "handshake")
	_ = socket.SetDeadline(time.Now().Add(time.Minute))
	var startup handshake.Startup
	err := handshake.Read(socket, &startup) // or the host could not write it
	if err == nil {
		err = handshake.Write(socket, handshake.Hello{Protocol: handshake.ProtocolVersion, ABI: handshake.ABIVersion, Report: problem})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "pgexthost: %s\n", problem.Error())
	}
	os.Exit(1)
}

// without returns the environment without some variables.
func without(env []string, names ...string) []string {
	var result []string
next:
	for _, variable := range env {
		for _, name := range names {
			if strings.HasPrefix(variable, name+"=") {
				continue next
			}
		}
		result = append(result, variable)
	}
	return result
}
