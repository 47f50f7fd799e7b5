package shmem

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Children share the descriptor with the postmaster, flags included.
func TestAnAlarmThatAChildMadeBlockingCanBeClosed(t *testing.T) {
	alarm, err := NewAlarm()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := alarm.File().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), false) }); err != nil {
		t.Fatal(err)
	}
	rung, over := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(over)
		for alarm.Wait() == nil {
			select {
			case rung <- struct{}{}:
			default:
			}
		}
	}()
	alarm.Ring()
	<-rung // now it goes to sleep again
	closed := make(chan error, 1)
	go func() { closed <- alarm.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
		<-over
	case <-time.After(30 * time.Second):
		t.Fatal("Close waits for ever")
	}
}
