package connect_test

import (
	"syscall"
	"testing"
)

func TestTCPKeepalivesAreOn(t *testing.T) {
	conn := open(t, server.ConnInfoTCP()+" sslmode=disable", "")
	raw, err := conn.PgConn().Conn().(syscall.Conn).SyscallConn()
	check(t, err)
	for name, option := range map[string]struct{ level, option, want int }{
		"SO_KEEPALIVE":  {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":  {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		"TCP_KEEPINTVL": {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
		"TCP_KEEPCNT":   {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 4},
	} {
		var got int
		check(t, raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), option.level, option.option) }))
		if err != nil || got != option.want {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
}
