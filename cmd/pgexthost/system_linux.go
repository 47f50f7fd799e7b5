package main

import "syscall"

// stopWithDemo has the kernel stop a host when the demo ends.
func stopWithDemo(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
