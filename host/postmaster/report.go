package postmaster

import (
	"github.com/pgexthost/pgexthost/shmem"
)

// touch has the report on a worker published at the end of the step.
func (m *Machine) touch(w *worker) {
	if !w.touched {
		w.touched = true
		m.touched = append(m.touched, w)
	}
}

// publishReports tells of the workers that this step has changed, if they are
// still registered.
func (m *Machine) publishReports() {
	for _, w := range m.touched {
		w.touched = false
		if m.bySlot[w.slot] == w {
			m.emit(SetReport{Slot: w.slot, Report: w.currentReport()})
		}
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

// currentReport is the worker's report as of now.
func (w *worker) currentReport() shmem.WorkerReport {
	r := w.report
	r.LostServer, r.Draining = w.lost != notLost, w.draining
	if w.child == nil {
		r.NextStart = w.due()
	}
	return r
}

// noteStart and noteExit keep the books of a worker's processes.
func (w *worker) noteStart(m *Machine) {
	m.statistics.Starts++
	if !w.report.Started.IsZero() {
		w.report.Restarts++
		m.statistics.Restarts++
	}
	w.report.Started = m.now
	m.touch(w)
}

func (w *worker) noteExit(m *Machine, ev Exited) {
	w.report.Exited, w.report.ExitCode, w.report.ExitSignal = m.now, ev.Status.Code, 0
	if ev.Status.Signaled {
		w.report.ExitCode, w.report.ExitSignal = 0, ev.Status.Signal
	}
	w.report.SQLState, w.report.Message = ev.SQLState, ev.Message
	if ev.Failure != nil {
		w.report.Message = ev.Failure.Error()
	}
	m.touch(w)
}

// noteFailure notes why a process could not even be started.
func (w *worker) noteFailure(m *Machine, err error) {
	w.report.Exited, w.report.ExitCode, w.report.ExitSignal, w.report.SQLState = m.now, 1, 0, ""
	w.report.Message = err.Error()
	m.touch(w)
}
