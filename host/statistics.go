package host

import (
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/shmem"
)

// publishStatistics shows the children what the core has counted, if that has
// changed.
func (h *host) publishStatistics() {
	if s := h.machine.Statistics(); s != h.published {
		h.published = s
		h.segment.PublishStatistics(s)
	}
}

// answerPings says that the event loop goes round, to those who have asked. It
// publishes the statistics once more, because who could not make sense of what
// is there asks in this way, and has the control server look.
func (h *host) answerPings() {
	h.segment.PublishStatistics(h.published)
	h.segment.AnswerPings()
	h.children.poke(control.ServerName)
}

// carryStatistics brings what was counted into shared memory that was made anew.
// There is no child of either.
func (h *host) carryStatistics(old *shmem.Segment) {
	h.segment.SetTallies(old.Tallies())
	h.segment.PublishStatistics(h.published)
}
