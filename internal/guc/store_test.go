package guc_test

import (
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

func BenchmarkNewStore(b *testing.B) {
	defs := append(hostDefs(), naptime())
	for b.Loop() {
		guc.NewStore(defs...)
	}
}

func BenchmarkGetter(b *testing.B) {
	s := guc.NewStore(hostDefs()...)
	for b.Loop() {
		s.Int("worker_stop_timeout")
	}
}
