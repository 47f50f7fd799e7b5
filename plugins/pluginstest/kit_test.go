package pluginstest_test

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// kit is a library with all that there is to be described.
func kit() plugins.Library {
	var greeting func() string
	return plugins.Library{
		Name: "kit",
		Init: func(p *plugins.Init) error {
			greeting = p.DefineCustomString(plugins.StringVariable{Name: "kit.greeting", Description: "What to say.", Default: "it's me"})
			p.DefineCustomDuration(plugins.DurationVariable{
				Name: "kit.naptime", Description: "Time between two rounds.", Default: time.Minute, Min: time.Second, Max: 24 * time.Hour, Unit: time.Second,
			})
			p.DefineCustomEnum(plugins.EnumVariable{Name: "kit.order", Default: "oldest", Options: []string{"oldest", "newest"}, Context: plugins.PGCPostmaster})
			p.DefineCustomBool(plugins.BoolVariable{Name: "kit.enabled", Default: true})
			p.DefineCustomInt(plugins.IntVariable{Name: "kit.buffer", Default: 64, Min: 1, Max: 1 << 20, Unit: plugins.UnitKB})
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name: "kit greeter", Type: "greeter", Flags: plugins.ShmemAccess, RestartTime: 10, LibraryName: "kit", FunctionName: "greet", MainArg: 5,
			})
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{Name: "refused", LibraryName: "kit", FunctionName: "greet"})
			return nil
		},
		Functions: plugins.Functions{
			"greet": func(ctx context.Context, w *plugins.Worker) error {
				if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
					return err
				}
				for {
					w.Logf(elog.Log, "%s says %s %d %s", w.Entry().Name, greeting(), w.Entry().MainArg, plugins.ExtraText(w.Entry()))
					if _, err := nap(ctx, w); err != nil {
						return err
					}
					if w.ConfigReloadPending() {
						w.ProcessConfigFile()
					}
				}
			},
			"fail":  func(context.Context, *plugins.Worker) error { return elog.New(elog.Error, elog.DiskFull, "no room") },
			"done":  func(context.Context, *plugins.Worker) error { return nil },
			"deaf":  func(_ context.Context, w *plugins.Worker) error { w.Logf(elog.Log, "listening"); select {} },
			"crash": func(context.Context, *plugins.Worker) error { panic("help") },
			"lead": func(_ context.Context, w *plugins.Worker) error {
				_, err := w.RegisterDynamicBackgroundWorker(w.Entry())
				return err
			},
		},
		ManualSignals: []string{"lead"},
	}
}
