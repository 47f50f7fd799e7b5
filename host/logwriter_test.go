package host

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A disk that is full for a while, in the middle of a record.
func TestAFullDiskLosesRecordsAndSaysHowMany(t *testing.T) {
	disk := &smallDisk{room: len("first\nsec"), tries: make(chan struct{}, 10)}
	l := newLogWriter(disk)
	l.onLoss = func(e *elog.ErrorData) { fmt.Fprintf(l, "%s: %s\n", e.Message, e.Detail) }
	written := func(record string) {
		_, _ = l.Write([]byte(record))
		<-disk.tries
	}
	written("first\n")
	written("second\n")
	written("third\n")
	disk.room = 1000
	written("fourth\n")
	l.close()
	const want = "first\nsec\nfourth\n2 log records were dropped: Could not write to the log: No space left on device.\n"
	if got := disk.b.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// smallDisk is a file on a disk that has some room left.
type smallDisk struct {
	b     bytes.Buffer
	room  int
	tries chan struct{} // one for each Write
}

func (d *smallDisk) Write(p []byte) (int, error) {
	defer func() { d.tries <- struct{}{} }()
	n := min(len(p), d.room)
	d.room -= n
	d.b.Write(p[:n])
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}

func TestTheLogIsWrittenInOrderAndWhole(t *testing.T) {
	var b bytes.Buffer
	l := newLogWriter(&b)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "record %d\n", i)
		fmt.Fprintf(l, "record %d\n", i)
	}
	l.close()
	if b.String() != want.String() {
		t.Errorf("got %d bytes, want %d", b.Len(), want.Len())
	}
	_, _ = l.Write([]byte("too late, and no panic"))
}

// A pipe that is full and that nobody reads.
func TestAStuckLogBlocksNobodyAndLossIsCounted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := newLogWriter(w)
	l.onLoss = func(e *elog.ErrorData) { fmt.Fprintf(l, "%s: %s\n", e.Message, e.Detail) }
	record := bytes.Repeat([]byte("x"), 1023)
	record = append(record, '\n')
	for range 3 * logBacklog {
		_, _ = l.Write(record)
	}
	if l.dropped.Load() == 0 {
		t.Error("nothing was dropped")
	}
	lost := l.dropped.Load()
	go l.close()
	var b bytes.Buffer
	drained := make(chan error)
	go func() { _, err := b.ReadFrom(r); drained <- err }()
	<-l.done
	_ = w.Close()
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\n%d log records were dropped: Nobody was reading the log of the host.\n", lost); strings.Count(b.String(), "were dropped") != 1 || !strings.Contains(b.String(), want) {
		t.Error("the loss was not reported")
	}
}
