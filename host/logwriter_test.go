package host

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

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
	l.onLoss = func(n int64) { fmt.Fprintf(l, "%d records were lost\n", n) }
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
	if want := fmt.Sprintf("\n%d records were lost\n", lost); strings.Count(b.String(), "were lost") != 1 || !strings.Contains(b.String(), want) {
		t.Error("the loss was not reported")
	}
}
