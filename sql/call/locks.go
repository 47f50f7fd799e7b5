package call

import (
	"context"
	"encoding/binary"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// payloadKeys returns the keys of the locks that say something to a session: its
// process id, 22 bits; the attempt, two; the place of the word, eight; the word.
func payloadKeys(pid uint32, attempt int, sealed []byte) []int64 {
	keys := make([]int64, 0, len(sealed)/wordSize)
	for i := 0; i < len(sealed); i += wordSize {
		order := uint64(attempt)<<8 | uint64(i/wordSize)
		keys = append(keys, int64(uint64(pid)<<42|order<<32|uint64(binary.BigEndian.Uint32(sealed[i:]))))
	}
	return keys
}

// maxPid is the first process id that does not fit a key. Linux has none.
const maxPid = 1 << 22

const (
	stateTag  = 0x70675300 // "pgS" and a number; pgexthost.call knows it
	stateKeys = 8
)

// stateKey returns a key of a session's state lock.
func stateKey(pid uint32, n int) int64 { return (stateTag+int64(n))<<32 | int64(pid) }

// op is one thing to do with a lock. None of them waits.
type op struct {
	code int16
	key  int64
}

// The codes of ops, as opsQuery has them.
const (
	unlockPayload = 1 + iota
	lockPayload
	lockState
	unlockState
)

// opsQuery does ops one after the other, in one round trip.
const opsQuery = `SELECT CASE op
	WHEN 1 THEN pg_advisory_unlock_shared(key)
	WHEN 2 THEN pg_try_advisory_lock_shared(key)
	WHEN 3 THEN pg_try_advisory_lock((key >> 32)::int4, (key & 4294967295)::int4)
	WHEN 4 THEN pg_advisory_unlock((key >> 32)::int4, (key & 4294967295)::int4)
	END FROM unnest($1::int2[], $2::int8[]) AS o (op, key)`

// run does ops on the server, and returns which have done something.
func run(ctx context.Context, conn *connect.Conn, ops []op) ([]bool, error) {
	codes, keys := make([]int16, len(ops)), make([]int64, len(ops))
	for i, o := range ops {
		codes[i], keys[i] = o.code, o.key
	}
	rows, err := conn.Query(ctx, opsQuery, codes, keys)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	done := make([]bool, 0, len(ops))
	for rows.Next() {
		var did bool
		if err := rows.Scan(&did); err != nil {
			return nil, err
		}
		done = append(done, did)
	}
	if rows.Err() == nil && len(done) != len(ops) {
		return nil, elog.New(elog.Error, elog.ProtocolViolation, "unexpected answer of the server")
	}
	return done, rows.Err()
}
