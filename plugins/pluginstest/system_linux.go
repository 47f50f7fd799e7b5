package pluginstest

import "syscall"

// dieWithTest has the kernel kill a host when the test binary ends.
func dieWithTest(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
