package elog_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// smallDisk is a file on a disk that has some room left.
type smallDisk struct {
	bytes.Buffer
	room int
}

func (d *smallDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}

func TestTheLogTellsWhatAFullDiskHasLost(t *testing.T) {
	disk := &smallDisk{room: 30}
	l := elog.NewLogger(disk)
	l.Configure("", elog.Warning, elog.DestinationStderr)
	for _, text := range []string{"one", "two", "cut in the middle", "lost"} {
		l.Logf(elog.Log, "%s", text)
	}
	disk.room = 20 // too little for a confession
	l.Logf(elog.Log, "lost, too")
	disk.room = 1000
	l.Logf(elog.Log, "three")
	l.Logf(elog.Log, "four")
	const want = "LOG:  one\nLOG:  two\nLOG:  cut \n" + "WARNING:  2 log rec\n" +
		"WARNING:  3 log records were dropped\nDETAIL:  Could not write to the log: No space left on device.\nLOG:  three\nLOG:  four\n"
	if got := disk.String(); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestOneLostRecordIsOne(t *testing.T) {
	if got := elog.LossReport(1, "It rains.").Message; got != "1 log record was dropped" {
		t.Errorf("got %q", got)
	}
}

func TestALossIsNotToldBelowItsLevel(t *testing.T) {
	disk := &smallDisk{}
	l := elog.NewLogger(disk)
	l.Configure("", elog.Error, elog.DestinationStderr)
	l.Logf(elog.Error, "lost")
	disk.room = 1000
	l.Logf(elog.Error, "here")
	if got := disk.String(); got != "ERROR:  here\n" {
		t.Errorf("got %q", got)
	}
}

// A reader of JSON lines comes upon at most one that is none.
func TestARecordOfJSONIsNeverGluedToHalfOne(t *testing.T) {
	disk := &smallDisk{room: 300}
	l := elog.NewLogger(disk)
	l.Configure("", elog.Warning, elog.DestinationJSONLog)
	for range 4 {
		l.Logf(elog.Log, "something that takes some room")
	}
	disk.room = 10_000
	l.Logf(elog.Log, "last")
	lines := strings.Split(strings.TrimSuffix(disk.String(), "\n"), "\n")
	broken := 0
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			broken++
		}
	}
	if broken > 1 || !strings.Contains(lines[len(lines)-1], `"message":"last"`) || !strings.Contains(lines[len(lines)-2], "were dropped") {
		t.Errorf("%d broken lines in\n%s", broken, disk)
	}
}
