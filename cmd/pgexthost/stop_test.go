package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const stoppedText = "waiting for server to shut down... done\nserver stopped\n"

func TestStopModes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		mode string
	}{
		{nil, "fast"},
		{[]string{"-m", "smart"}, "smart"},
		{[]string{"-m", "s"}, "smart"},
		{[]string{"--mode=fast"}, "fast"},
		{[]string{"-m", "f"}, "fast"},
		{[]string{"-mimmediate"}, "immediate"},
		{[]string{"-m", "i"}, "immediate"},
	} {
		t.Run(fmt.Sprint(tt.args), func(t *testing.T) {
			t.Parallel()
			d := newHostDir(t)
			p := d.start(t)
			d.control(t, "stop", tt.args...).exactly(t, 0, stoppedText, "")
			expectGone(t, p)
			if _, err := os.Stat(filepath.Join(d.path, "postmaster.pid")); !os.IsNotExist(err) {
				t.Errorf("the lock file is still there: %v", err)
			}
			d.wantLogged(t, "LOG:  received "+tt.mode+" shutdown request")
		})
	}
}

func TestStopRefusesAnUnknownMode(t *testing.T) {
	d := newHostDir(t)
	for _, mode := range []string{"slow", "", "sm", "FAST"} {
		for _, command := range []string{"stop", "restart"} {
			d.control(t, command, "-m", mode).exactly(t, 1, "",
				"pgexthost: error: unrecognized shutdown mode \""+mode+"\"\npgexthost: hint: Try \"pgexthost "+command+" --help\" for more information.\n")
		}
	}
}

func TestStopWithoutAHost(t *testing.T) {
	d := newHostDir(t)
	d.control(t, "stop").exactly(t, 1, "", d.notRunning())
	d.control(t, "stop", "-s").exactly(t, 1, "", d.notRunning())
	pid := deadPid(t)
	d.writeLockFile(t, pid)
	d.control(t, "stop").exactly(t, 1, "", fmt.Sprintf("pgexthost: could not send stop signal (PID: %d): No such process\n", pid))
}

func TestASilentStopSaysNothing(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	d.control(t, "stop", "-s").exactly(t, 0, "", "")
	expectGone(t, p)
}

func TestStopNeedNotWait(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	freeze(t, p) // a stop that waited would wait for long
	d.control(t, "stop", "-w", "-W").exactly(t, 0, "server shutting down\n", "")
	if err := p.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, p)
}

func TestStopGivesUpAfterItsTime(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	freeze(t, p)
	const failed = "waiting for server to shut down... failed\n"
	r := d.control(t, "stop", "-t", "2", "-m", "smart")
	r.want(t, 1, "waiting for server to shut down..... failed\n", "pgexthost") // a dot each second
	r.exactly(t, 1, failed, "pgexthost: server does not shut down\n"+
		"HINT: The \"-m fast\" option immediately disconnects sessions rather than\nwaiting for session-initiated disconnection.\n")
	d.control(t, "stop", "-t", "0").exactly(t, 1, failed, "pgexthost: server does not shut down\n")
	cmd := d.program("stop", "-s")
	cmd.Env = append(cmd.Env, "PGCTLTIMEOUT=1")
	runToEnd(t, cmd).exactly(t, 1, "", "pgexthost: server does not shut down\n")
	expectAlive(t, p)
}

func TestStopTellsAKilledHostFromAStoppedOne(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	freeze(t, p)
	cmd := d.program("stop", "-t", "600")
	r := watchOutput(t, cmd, "waiting for server to shut down...", func() {
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	r.exactly(t, 1, "waiting for server to shut down... failed\n",
		fmt.Sprintf("pgexthost: server process (PID: %d) died before it had shut down\n", p.Pid))
}
