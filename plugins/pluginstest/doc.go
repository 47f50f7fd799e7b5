// Package pluginstest runs a background worker in a test: its main function in
// the test's own process, so that the race detector, coverage and a debugger see
// it, and against a real PostgreSQL server that is private to the test binary.
//
//	func TestMain(m *testing.M) { os.Exit(pluginstest.Main(m)) }
//
//	func TestExpiredSessionsAreRemoved(t *testing.T) {
//		db := pluginstest.Server(t).NewDatabase(t)
//		conn := db.Connect(t)
//		// … CREATE TABLE session …
//		w := pluginstest.Start(t, Library(), "janitor_main", pluginstest.Options{
//			Server:   db,
//			Settings: map[string]string{"janitor.naptime": "1min"},
//		})
//		w.AwaitWait(t)         // it has come to its WaitLatch
//		// … INSERT an expired session …
//		w.Advance(t)           // the minute is over; back when it waits again
//		// … the session is gone …
//		w.Signal(t, unix.SIGTERM)
//		if exit := w.Wait(t); exit.SQLState != elog.AdminShutdown { … }
//	}
//
// A worker of this package is what --standalone makes of one: Init, settings,
// signals, session, log and exit are those that it has under a host. It differs in
// three things:
//
//   - Time stands still in WaitLatch: a time-out never passes by itself. The test
//     lets it pass, with Advance, and so depends on no clock and on no busy machine.
//     (A context with a time-out is another matter: its time is the real one.
//     Advance ends a WaitForNotification before it.)
//   - There is no host. What needs one, dynamic workers and handles, fails with
//     SQLSTATE 53000.
//   - Workers are goroutines, any number at a time, in parallel tests, too. What
//     belongs to a process they share: the environment, the pid, package variables.
//     slog.Default is the test's; a library logs through Worker.Slog or Logf.
//
// A library that keeps the readers of its settings in package variables has one
// value for all workers, that of the last one started, and the race detector
// complains about two at once. Keep them in a struct that Library makes anew, as
// package workerspi does.
//
// Nothing outlives its test: at its end each worker gets SIGTERM, and the test
// fails if main does not return. Every wait has a deadline, a few seconds before
// that of the test binary or a minute, and says what the worker was doing.
package pluginstest
