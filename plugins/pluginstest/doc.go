// Package pluginstest tests libraries and their background workers, against a real
// PostgreSQL server that is private to the test binary, in two ways:
//
//   - [Start] runs the main function of one worker in the test's own process, where the
//     race detector, coverage and a debugger see it, and where the test lets time pass.
//   - [StartHost] starts a whole host, in a process of its own, with real processes for
//     workers: for what a worker alone cannot show, such as restarts, crashes,
//     shutdowns, reloads, and workers that launch others.
//
// # A worker
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
//     SQLSTATE 53000, and is for StartHost.
//   - Workers are goroutines, any number at a time, in parallel tests, too. What
//     belongs to a process they share: the environment, the pid, package variables.
//     slog.Default is the test's; a library logs through Worker.Slog or Logf.
//
// A library that keeps the readers of its settings in package variables has one
// value for all workers, that of the last one started, and the race detector
// complains about two at once. Keep them in a struct that Library makes anew, as
// package workerspi does.
//
// # A host
//
//	func TestMain(m *testing.M) { os.Exit(pluginstest.Main(m, Library())) }
//
//	func TestTheJanitorSurvivesAKill(t *testing.T) {
//		h := pluginstest.StartHost(t, pluginstest.HostOptions{Server: pluginstest.Server(t).NewDatabase(t)})
//		h.AwaitLog(t, "janitor: at work")
//		unix.Kill(h.WorkerPid(t, "janitor"), unix.SIGKILL)
//		h.AwaitLogs(t, "janitor: at work", 2)
//		h.Stop(t)
//	}
//
// The test binary is the program of the host and of its workers, each of which runs
// TestMain again as far as Main. So Main comes first there, and knows the libraries.
// Time is real: give such tests short naptimes, and have them wait for what they want
// with AwaitLog and [Await], never for a while.
//
// An executable is tested as it is installed: build it into a folder, and name that in
// dynamic_library_path. A program that is a host itself is HostOptions.Command.
//
// [NewCluster] starts a server that a test may crash, without harm to others.
//
// # The end
//
// Nothing outlives its test: at its end each worker gets SIGTERM, and the test
// fails if main does not return; a host is killed with its workers. Every wait has a
// deadline, a few seconds before that of the test binary or two minutes, and says what
// the worker was doing, or what the host has logged.
package pluginstest
