package workerspi

import (
	"encoding/binary"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

// Extra is what a dynamic worker finds in BackgroundWorker.Extra. Its zero value
// means the settings' database and role.
type Extra struct {
	Database uint32 // OID, or 0
	Role     uint32 // OID, or 0 for the host's own user
	Flags    connect.Flags
}

// Encode returns the bytes of BackgroundWorker.Extra: three numbers of four
// bytes each, the lowest byte first, and zeroes.
func (e Extra) Encode() (raw [plugins.BGWExtraLen]byte) {
	binary.LittleEndian.PutUint32(raw[0:], e.Database)
	binary.LittleEndian.PutUint32(raw[4:], e.Role)
	binary.LittleEndian.PutUint32(raw[8:], uint32(e.Flags))
	return raw
}

// DecodeExtra is the inverse of Encode. All bytes mean something, so it cannot
// fail; what makes no sense is refused when the worker connects.
func DecodeExtra(raw [plugins.BGWExtraLen]byte) Extra {
	return Extra{
		Database: binary.LittleEndian.Uint32(raw[0:]),
		Role:     binary.LittleEndian.Uint32(raw[4:]),
		Flags:    connect.Flags(binary.LittleEndian.Uint32(raw[8:])),
	}
}
