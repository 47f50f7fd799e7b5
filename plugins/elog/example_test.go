package elog_test

import (
	"log/slog"
	"os"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// In a worker, Worker.Slog and slog.Default have such a handler already.
func ExampleNewHandler() {
	log := elog.NewLogger(os.Stdout)
	log.Configure("%e ", elog.Warning, elog.DestinationStderr)
	logger := slog.New(elog.NewHandler(log)).With("queue", "mails")

	logger.Debug("not logged: log_min_messages is warning")
	logger.Info("delivered", "count", 3, slog.Duration("took", 1500000))
	logger.Error("could not deliver", "err",
		elog.New(elog.Error, elog.UndefinedObject, "no such mailbox").WithHint("Ask them to make one."))
	// Output:
	// 00000 LOG:  delivered
	// 00000 DETAIL:  queue=mails count=3 took=1.5ms
	// 42704 ERROR:  could not deliver
	// 42704 DETAIL:  queue=mails err="no such mailbox"
	// 42704 HINT:  Ask them to make one.
}

func ExampleParseDestinations() {
	log := elog.NewLogger(os.Stdout)
	log.Configure("", elog.Warning, elog.DestinationStderr)
	if _, err := elog.ParseDestinations("stderr, csvlog"); err != nil {
		log.Emit(elog.AsErrorData(err, elog.Error))
	}
	// Output:
	// ERROR:  invalid value for parameter "log_destination": "stderr, csvlog"
	// DETAIL:  Unrecognized key word: "csvlog".
}
