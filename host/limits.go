package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/settings"
)

// nearLimit is the part of its memory, in percent, from which on a process that
// crashed may have wanted more. The Go runtime takes memory in large pieces, and
// dies of the first that it can't get.
const nearLimit = 80

// limitMet says so if a process that has crashed had come near its limit of
// memory. Whatever it died of, what is said is true. Resident is the most memory
// that it has ever had resident, in bytes.
func (p *process) limitMet(status postmaster.ExitStatus, resident int64) postmaster.Limit {
	if p.library == nil || p.library.Limits == nil || p.library.Limits.Memory == 0 {
		return postmaster.Limit{}
	}
	l := p.library.Limits
	failed := status.Signaled || status.Code > 1
	if !failed || resident < l.Memory/100*nearLimit || resident <= residentAtBirth() {
		return postmaster.Limit{}
	}
	return postmaster.Limit{
		Detail: fmt.Sprintf("Library \"%s\" may use %s of memory; its process had used up to %d MB.", p.library.Name, limits.Size(l.Memory), resident>>20),
		Hint:   fmt.Sprintf("If it needs more, raise \"%s\" of the library in \"%s\".", limits.Memory, settings.LibraryLimits),
	}
}

// residentAtBirth is the most memory that this process has ever had resident, in
// bytes. The kernel counts it as a child's, too, which shares our memory until it
// executes its program; so what is no more tells nothing.
func residentAtBirth() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}
