package control

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// answer does what a request asks for.
func (s *server) answer(ctx context.Context, conn net.Conn, r Request) Response {
	s.worker.CountControlRequest(kindOf(r.Op))
	var response Response
	var err error
	switch r.Op {
	case OpPs, OpWhy:
		response, err = s.tell(ctx, r)
	case OpLaunch:
		response, err = s.launch(s.whileConnected(ctx, conn, r.Wait), r)
	case OpTerminate:
		response, err = s.terminate(s.whileConnected(ctx, conn, r.Wait), r)
	case OpReload:
		response.Reloaded, err = s.reloadLibrary(s.whileConnected(ctx, conn, true), r)
	default:
		err = elog.New(elog.Error, elog.ProtocolViolation, "unknown control request \"%s\"", r.Op)
	}
	if err != nil {
		response.Error = elog.AsErrorData(err, elog.Error)
		response.Error.Cause = nil // for this process only
	}
	return response
}

// kindOf returns the kind under which a request is counted.
func kindOf(op string) shmem.ControlRequest {
	switch op {
	case OpPs:
		return shmem.ControlPs
	case OpWhy:
		return shmem.ControlWhy
	case OpLaunch:
		return shmem.ControlLaunch
	case OpTerminate:
		return shmem.ControlTerminate
	case OpReload:
		return shmem.ControlReload
	}
	return shmem.ControlOther
}

// tell answers those who only want to know, so many at a time.
func (s *server) tell(ctx context.Context, r Request) (response Response, err error) {
	select {
	case s.look <- struct{}{}:
		defer func() { <-s.look }()
	case <-ctx.Done():
		return response, context.Cause(ctx)
	}
	if r.Op == OpPs {
		response.Workers = s.rows()
	} else {
		response.Answers, err = s.why(r.Target)
	}
	return response, err
}

// whileConnected returns a context that ends when the client leaves, if the
// request may take long. Nothing else may read from the connection then.
func (s *server) whileConnected(ctx context.Context, conn net.Conn, long bool) context.Context {
	if !long {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = conn.Read(make([]byte, 1)) // a client that waits says nothing
	}()
	return ctx
}

func (s *server) rows() []Worker {
	rows := []Worker{} // an empty array, not null
	for _, w := range s.worker.BackgroundWorkers() {
		rows = append(rows, row(w))
	}
	return rows
}

// find returns the registered workers with a name, a pid or a handle. What is
// not ASCII in a name, shared memory gives back as question marks; it is found
// by either.
func (s *server) find(target string) []plugins.WorkerInfo {
	name := shmem.SafeText(target)
	pid, notPid := strconv.Atoi(target)
	handle, notHandle := plugins.ParseHandle(target)
	var found []plugins.WorkerInfo
	for _, w := range s.worker.BackgroundWorkers() {
		if w.Entry.Name == name || notPid == nil && pid > 0 && w.Pid == pid || notHandle == nil && w.Handle == handle {
			found = append(found, w)
		}
	}
	return found
}

func (s *server) why(target string) ([]Answer, error) {
	var answers []Answer
	for _, w := range s.find(target) {
		a := why(w, serverView{s.worker.ServerState(), s.worker.ServerNews()}, time.Now())
		answers = append(answers, withProcess(a, w.Pid))
	}
	if len(answers) > 0 {
		return answers, nil
	}
	for _, u := range s.worker.UnregisteredWorkers() {
		if u.Entry.Name == shmem.SafeText(target) {
			return []Answer{whyGone(u)}, nil
		}
	}
	return nil, unknown(target)
}

func unknown(target string) *elog.ErrorData {
	return elog.New(elog.Error, elog.UndefinedObject, "there is no background worker \"%s\"", target).
		WithHint("\"pgexthost ps\" lists all. A worker that has ended for good is remembered for a while only.")
}

// launch registers a dynamic worker.
func (s *server) launch(ctx context.Context, r Request) (Response, error) {
	if r.Launch == nil {
		return Response{}, elog.New(elog.Error, elog.ProtocolViolation, "a launch request without a worker")
	}
	w, err := r.Launch.worker()
	if err != nil {
		return Response{}, err
	}
	w.NotifyPid = s.worker.Pid()
	handle, err := s.worker.RegisterDynamicBackgroundWorker(w)
	if err != nil {
		return Response{}, err
	}
	response := Response{Handle: handle.String()}
	if r.Wait {
		response.Pid, err = s.awaitStart(ctx, handle)
	}
	return response, err
}

// worker is the registration that a launch asks for.
func (l Launch) worker() (plugins.BackgroundWorker, error) {
	w := plugins.BackgroundWorker{
		Name: l.Name, Type: l.Type, LibraryName: l.Library, FunctionName: l.Function, MainArg: l.Arg,
		Flags: plugins.ShmemAccess, StartTime: l.Start, RestartTime: l.RestartTime,
	}
	if l.Database {
		w.Flags |= plugins.BackendDatabaseConnection
	}
	if w.Name == "" {
		w.Name = l.Library + " " + l.Function
	}
	var err error
	w.Extra, err = plugins.TextExtra(l.Extra)
	return w, err
}

// lookAgain is how often a wait looks without having been notified.
const lookAgain = time.Second

// await looks at a worker at each news until done says so.
func (s *server) await(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		news := s.nextNews()
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-news:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *server) awaitStart(ctx context.Context, h plugins.Handle) (pid int, err error) {
	status := plugins.HandleStopped
	err = s.await(ctx, func() (bool, error) {
		status, pid, err = s.worker.GetBackgroundWorkerPid(h)
		return status != plugins.HandleNotYetStarted, err
	})
	if err == nil && status == plugins.HandleStopped {
		err = plugins.ErrStopped
	}
	return pid, err
}

// terminate ends all workers with a name, a pid or a handle for good.
func (s *server) terminate(ctx context.Context, r Request) (Response, error) {
	found := s.find(r.Target)
	if len(found) == 0 {
		return Response{}, unknown(r.Target)
	}
	var response Response
	for _, w := range found {
		if err := s.worker.TerminateBackgroundWorker(w.Handle); err != nil {
			return response, err
		}
		response.Terminated = append(response.Terminated, row(w))
	}
	if !r.Wait {
		return response, nil
	}
	return response, s.await(ctx, func() (bool, error) {
		return !s.anyRegistered(found), nil
	})
}

// anyRegistered reports whether one of the workers still has its slot.
func (s *server) anyRegistered(workers []plugins.WorkerInfo) bool {
	registered := make(map[plugins.Handle]bool)
	for _, w := range s.worker.BackgroundWorkers() {
		registered[w.Handle] = true
	}
	return slices.ContainsFunc(workers, func(w plugins.WorkerInfo) bool { return registered[w.Handle] })
}
