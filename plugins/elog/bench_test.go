package elog_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func benchLogger(to elog.Destination) *elog.Logger {
	l := elog.NewLogger(io.Discard)
	l.Configure(elog.DefaultLinePrefix, elog.Warning, to)
	l.Identify("worker_spi worker 1", "worker_spi")
	return l
}

func BenchmarkEmit(b *testing.B) {
	report := elog.New(elog.Log, elog.UndefinedObject, "worker_spi worker 1: count in \"schema1\".\"counted\" is now %d", 42).
		WithDetail("It was %d.", 41).WithHint("Look\nagain.")
	for name, to := range map[string]elog.Destination{"stderr": elog.DestinationStderr, "jsonlog": elog.DestinationJSONLog} {
		b.Run(name, func(b *testing.B) {
			l := benchLogger(to)
			b.ReportAllocs()
			for b.Loop() {
				l.Emit(report)
			}
		})
	}
}

func BenchmarkSlog(b *testing.B) {
	ctx := context.Background()
	for name, level := range map[string]slog.Level{"enabled": slog.LevelInfo, "disabled": slog.LevelDebug} {
		b.Run(name, func(b *testing.B) {
			logger := slog.New(elog.NewHandler(benchLogger(elog.DestinationStderr))).With("worker", 1)
			b.ReportAllocs()
			for b.Loop() {
				logger.LogAttrs(ctx, level, "counted", slog.String("schema", "schema1"), slog.Int("total", 42))
			}
		})
	}
}
