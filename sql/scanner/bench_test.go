package scanner

import "testing"

// hot is pgbench's statement, of which the gateway relays thousands a second.
const hot = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;"

func BenchmarkMayConcern(b *testing.B) {
	for name, sql := range map[string]string{
		"pgbench":   hot,
		"commented": "/* application='shop', route='/cart' */ " + hot,
		"mentioned": "SELECT count(*) FROM pg_stat_activity",
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(sql)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				MayConcern(text)
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for name, sql := range map[string]string{
		"pgbench":   hot,
		"set":       "SET application_name = 'x'",
		"command":   "CREATE EXTENSION IF NOT EXISTS worker_spi WITH SCHEMA public",
		"reference": "SELECT a.pid, a.wait_event FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid WHERE a.state = 'active'",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(sql)))
			b.ReportAllocs()
			for b.Loop() {
				Scan(sql, usual)
			}
		})
	}
}
