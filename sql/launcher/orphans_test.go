package launcher

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hostWith is a host with workers, whose ends it notes.
type hostWith struct {
	worker
	workers []plugins.WorkerInfo
	ended   []string
}

func (h *hostWith) BackgroundWorkers() []plugins.WorkerInfo { return h.workers }
func (h *hostWith) Ereport(*elog.ErrorData)                 {}

func (h *hostWith) TerminateBackgroundWorker(handle plugins.Handle) error {
	for i := range h.workers {
		if h.workers[i].Handle == handle {
			h.workers[i].Terminated = true
			h.ended = append(h.ended, h.workers[i].Entry.Name)
		}
	}
	return nil
}

// requested is a worker that a database has asked for.
func requested(t *testing.T, name, handle string, database uint32) plugins.WorkerInfo {
	t.Helper()
	h, err := plugins.ParseHandle(handle)
	testkit.Check(t, err)
	return plugins.WorkerInfo{Handle: h, Request: numberOf(1, database), Entry: plugins.BackgroundWorker{Name: name}, State: plugins.WorkerRunning, Pid: 5}
}

func TestOnlyWorkersWhoseTablesStayGoneAreEnded(t *testing.T) {
	const gone, there = "It is gone.", ""
	unreachable := errors.New("no answer")
	for name, tt := range map[string]struct {
		served  bool
		answers []any // to each question
		want    []string
		asked   int
	}{
		"gone":                       {false, []any{gone, gone}, []string{"a", "b"}, 2},
		"served":                     {true, nil, nil, 0},
		"there":                      {false, []any{there, there}, nil, 2},
		"gone for a moment":          {false, []any{gone, there, gone}, nil, 3},
		"the server does not answer": {false, []any{unreachable, gone, unreachable, gone}, nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hostWith{workers: []plugins.WorkerInfo{
				requested(t, "a", "0000000000000001.0.1", 0x80000007), requested(t, "b", "0000000000000001.1.1", 0x80000007), requested(t, "other", "0000000000000001.2.1", 8),
				{Entry: plugins.BackgroundWorker{Name: "static"}, State: plugins.WorkerRunning, Pid: 6},
			}}
			asked := 0
			o := &orphans{
				worker: h, suspects: make(map[uint32]*suspect),
				served: func(database uint32) bool { return tt.served || database == 8 },
				ask: func(_ context.Context, database uint32) (string, error) {
					if database != 7 {
						t.Errorf("asked about %d", database)
					}
					answer := tt.answers[asked]
					asked++
					if err, failed := answer.(error); failed {
						return "", err
					}
					return answer.(string), nil
				},
			}
			now := time.Now()
			o.look(t.Context(), now)
			if asked > 0 {
				t.Error("asked at once: its session may be on the way")
			}
			for end := now.Add(5 * time.Minute); now.Before(end) && asked < max(len(tt.answers), 1); now = now.Add(orphansPause) {
				o.look(t.Context(), now)
			}
			if !slices.Equal(h.ended, tt.want) || asked != tt.asked {
				t.Errorf("ended %v after %d questions", h.ended, asked)
			}
			if tt.want != nil {
				o.look(t.Context(), now)
				if len(o.suspects) != 0 || len(h.ended) != len(tt.want) {
					t.Errorf("afterwards: %v, %v", o.suspects, h.ended)
				}
			}
		})
	}
}

// A mistake in the settings, or a name service, may lead to another server for a
// while: there is no such database there, either.
func TestOnlyTheServerOfADatabaseIsBelievedThatItIsGone(t *testing.T) {
	ctx := testkit.Context(t)
	server := testkit.Start(t, localpg.Options{}, "CREATE ROLE stranger LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
	config, err := connect.ParseConninfo(server.ConnInfo())
	testkit.Check(t, err)
	conn, err := connect.Open(ctx, config, t.Name())
	testkit.Check(t, err)
	defer conn.HangUp(ctx)
	identifier, err := systemIdentifier(ctx, conn)
	if err != nil || identifier == "" {
		t.Fatalf("got %q, %v", identifier, err)
	}
	for name, tt := range map[string]struct {
		user, origin string
		database     uint32
		want         string
		err          error
	}{
		"the same":                         {"postgres", identifier, 1<<31 - 1, "The database with OID 2147483647, from which it was launched, does not exist any more.", nil},
		"another":                          {"postgres", "1", 1<<31 - 1, "", errOtherServer},
		"a first one":                      {"postgres", "", 1<<31 - 1, "The database with OID 2147483647, from which it was launched, does not exist any more.", nil},
		"one that does not say":            {"stranger", "1", 1<<31 - 1, "The database with OID 2147483647, from which it was launched, does not exist any more.", nil},
		"another that has no tables there": {"postgres", "1", conn.DatabaseOID(), "", errOtherServer},
		"the same, without tables there":   {"postgres", identifier, conn.DatabaseOID(), `Database "postgres", from which it was launched, has no table pgexthost.request any more.`, nil},
	} {
		why, err := askServer(ctx, server.ConnInfo()+" user="+tt.user, tt.database, tt.origin)
		if why != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %v", name, why, err)
		}
	}
	var o origins
	if o.note(1<<31|5, "1"); o.of(5) != "1" || o.of(6) != "" {
		t.Errorf("got %+v", &o)
	}
}

func TestTablesAreGoneForAWhileBeforeTheirWorkersEnd(t *testing.T) {
	h := &hostWith{workers: []plugins.WorkerInfo{requested(t, "a", "0000000000000001.0.1", 7)}}
	var first time.Time
	now := time.Now()
	o := &orphans{
		worker: h, suspects: make(map[uint32]*suspect), served: func(uint32) bool { return false },
		ask: func(context.Context, uint32) (string, error) {
			if first.IsZero() {
				first = now
			}
			return "It is gone.", nil
		},
	}
	for len(h.ended) == 0 {
		now = now.Add(100 * time.Millisecond)
		o.look(t.Context(), now)
	}
	if took := now.Sub(first); took < orphansGrace || took > orphansGrace+time.Second {
		t.Errorf("ended %v after the first answer", took)
	}
}

// Requests of new tables have the numbers of former ones, whose workers they must
// not be given.
func TestNewTablesDisownWhatFormerOnesHaveAskedFor(t *testing.T) {
	p := new(past)
	for _, tt := range []struct {
		oid      uint32
		replaced bool
	}{{5, false}, {5, false}, {6, true}, {6, true}} {
		if p.meet(tt.oid); p.replaced != tt.replaced {
			t.Fatalf("after %d: %v", tt.oid, p.replaced)
		}
	}
	former, restored := requested(t, "former", "0000000000000001.0.1", 7), requested(t, "restored", "0000000000000001.1.1", 7)
	h := &hostWith{workers: []plugins.WorkerInfo{former, restored}}
	s := &state{process: h, past: p}
	rows := []row{
		{ID: 1, Number: number}, {ID: 2, Started: true, Ours: true, Handle: restored.Handle.String()}, {ID: 3, Started: true, Handle: former.Handle.String()},
	}
	testkit.Check(t, s.disown(rows, host{workers: map[int64][]plugins.WorkerInfo{number: h.workers}}))
	if !slices.Equal(h.ended, []string{"former"}) || p.replaced || !p.former[former.Handle.String()] || p.former[restored.Handle.String()] {
		t.Errorf("ended %v, %+v", h.ended, p)
	}
}
