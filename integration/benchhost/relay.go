//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

// relay is the least that a program between client and server can do: it copies
// bytes from one unix socket to another, both ways, and looks at none of them. Go
// reads and writes for that, 32 kB at once at most; its splice is for TCP only. The
// gateway is measured against it.
func relay(listen, server string) {
	listener, err := net.Listen("unix", listen)
	for err == nil {
		var client net.Conn
		if client, err = listener.Accept(); err == nil {
			go relayOne(client, server)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func relayOne(client net.Conn, server string) {
	defer client.Close()
	upstream, err := net.Dial("unix", server) //nolint:gosec // the benchmark says where
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer upstream.Close()
	go func() {
		_, _ = io.Copy(upstream, client)
		_ = upstream.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(client, upstream)
}
