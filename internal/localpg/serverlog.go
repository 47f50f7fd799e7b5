package localpg

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

const (
	tailLines = 20
	tailBytes = 8 << 10
)

// serverLog is the file that initdb and the postmaster write to. It can be
// read after its directory is gone. Safe for concurrent use.
type serverLog struct {
	mu   sync.Mutex
	file *os.File // nil once closed
	rest string   // the whole log, once closed
}

func createLog(path string) (*serverLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("server log: %w", err)
	}
	return &serverLog{file: file}, nil
}

// size is where whatever is written next begins.
func (l *serverLog) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return int64(len(l.rest))
	}
	fi, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// from returns the log from offset on.
func (l *serverLog) from(offset int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.rest[min(offset, int64(len(l.rest))):]
	}
	return l.read(offset)
}

func (l *serverLog) read(offset int64) string {
	const endOfFile = 1 << 62
	text, err := io.ReadAll(io.NewSectionReader(l.file, offset, endOfFile))
	if err != nil {
		return string(text) + fmt.Sprintf("\n(the log could not be read to its end: %v)\n", err)
	}
	return string(text)
}

// close keeps the log in memory from here on.
func (l *serverLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	l.rest = l.read(0)
	l.file.Close()
	l.file = nil
}

// tail returns the last lines of text.
func tail(text string) string {
	text = strings.TrimRight(text, "\n")
	if len(text) > tailBytes {
		text = text[len(text)-tailBytes:]
	}
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
