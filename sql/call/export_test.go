package call

import "context"

// SayThough says something to the session with a process id when somebody has had
// time to take the locks for it. It returns those that were to be, and those with
// which it is said.
func SayThough(ctx context.Context, conninfo, database string, pid uint32, somebody func(keys []int64)) (first, held []int64, err error) {
	v, err := openVoice(ctx, conninfo, database)
	if err != nil {
		return nil, nil, err
	}
	defer v.hangUp()
	u := utterance{pid: pid, say: func(int) piece { return piece{status: statusText, text: "what is said"} }}
	first = payloadKeys(pid, 0, v.secret.seal(u.id, 0, u.say(mostText)))
	somebody(first)
	err = v.say(ctx, []utterance{u})
	return first, v.held[pid].payload, err
}
