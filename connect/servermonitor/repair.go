package servermonitor

import (
	"context"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// repairDatabases puts back what workers that died have left ajar, as
// connect.BypassAllowConn does. It has a session of its own, since the monitor's
// is a probe, and only where the setting allows that there is anything to do.
func repairDatabases(ctx context.Context, w *plugins.Worker) {
	if allowed, _ := w.ShowSetting(settings.AllowBypassAllowConn); allowed != "on" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	err := repairOver(ctx, w)
	if e := connect.AsErrorData(err, elog.Warning); e != nil {
		e.Message = "could not look for databases to close again: " + e.Message
		w.Ereport(e)
	}
}

func repairOver(ctx context.Context, w *plugins.Worker) error {
	config, err := connect.ParseConninfo(w.ServerConninfo())
	if err != nil {
		return err
	}
	conn, err := connect.Open(ctx, config, applicationName)
	if err != nil {
		return err
	}
	defer conn.HangUp(ctx)
	return connect.RepairDatabases(ctx, conn, w.Ereport)
}
