package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

const extensionUsage = `Usage:
  pgexthost extension install NAME -D DIR -d DATABASE [-c NAME=VALUE]... [--schema SCHEMA] [--if-not-exists]
  pgexthost extension upgrade NAME -D DIR -d DATABASE [-c NAME=VALUE]...
  pgexthost extension drop NAME -D DIR -d DATABASE [-c NAME=VALUE]...
  pgexthost extension list -D DIR -d DATABASE [-c NAME=VALUE]...

Installs SQL functions into a database of the host's server, with plain SQL, as
the user of server_conninfo. "pgexthost" is the schema of that name, from which
any connection launches, sees and stops workers; the others need it. The host need
not run. Each has a --help of its own.

The scripts of plugins (NAME.control, NAME--VERSION.sql, NAME--FROM--TO.sql,
NAME--drop.sql) are looked for in the subdirectory "extension" of each directory
that extension_control_path names, in the configuration file or with
-c extension_control_path=DIR:$system. The first that has an extension wins.
`

// runExtension is "pgexthost extension".
func runExtension(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return subcommandError("extension", "no subcommand: install, list, upgrade or drop?")
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	switch args[0] {
	case "install":
		return runExtensionInstall(ctx, args[1:])
	case "list":
		return runExtensionList(ctx, args[1:])
	case "upgrade":
		return runExtensionUpgrade(ctx, args[1:])
	case "drop":
		return runExtensionDrop(ctx, args[1:])
	case "--help", "-?", "-h":
		fmt.Print(extensionUsage)
		return pflag.ErrHelp
	}
	return subcommandError("extension", "unrecognized subcommand \"%s\" of extension", args[0])
}

func runExtensionInstall(ctx context.Context, args []string) error {
	e := newExtensionCommand("install", "NAME -D DIR -d DATABASE [-c NAME=VALUE]... [--schema SCHEMA] [--if-not-exists]",
		"Installs an extension into a database, whose owner the user of server_conninfo\n"+
			"should be: in the version that its control file names, or else the latest. It takes\n"+
			"effect as a whole, or not at all.")
	schema := e.flags.String("schema", "", "the `SCHEMA` of its functions, which exists (default:\nwhat its control file names, or else public)")
	lenient := e.flags.Bool("if-not-exists", false, "do nothing, and say so, if some version of it is installed")
	return e.runNamed(ctx, args, func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn, name string) error {
		version, err := catalog.Install(ctx, conn, name, *schema)
		if *lenient && errors.Is(err, sql.ErrInstalled) {
			printReport(os.Stderr, elog.New(elog.Notice, elog.SuccessfulCompletion, "extension \"%s\" already exists, skipping", name))
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("installed extension \"%s\", version %s, in database \"%s\"\n", name, version, conn.Database())
		return warnOfMissingRoles(ctx, conn, name)
	})
}

func runExtensionUpgrade(ctx context.Context, args []string) error {
	e := newExtensionCommand("upgrade", "NAME -D DIR -d DATABASE [-c NAME=VALUE]...",
		"Brings an installed extension to the version that would be installed. Of pgexthost,\n"+
			"grants the roles pgexthost_operator and pgexthost_reader their rights again. It\ntakes effect as a whole, or not at all.")
	return e.runNamed(ctx, args, func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn, name string) error {
		from, to, err := catalog.Upgrade(ctx, conn, name)
		switch {
		case err != nil:
			return err
		case from == to:
			fmt.Printf("extension \"%s\" is up to date: version %s\n", name, to)
		default:
			fmt.Printf("upgraded extension \"%s\" from version %s to %s\n", name, from, to)
		}
		return warnOfMissingRoles(ctx, conn, name)
	})
}

func runExtensionDrop(ctx context.Context, args []string) error {
	e := newExtensionCommand("drop", "NAME -D DIR -d DATABASE [-c NAME=VALUE]...",
		"Drops an extension, with all it has recorded. It is refused while requests are\n"+
			"pending or started, and while anything depends on it. Roles are left alone, since\nother databases may use them.")
	return e.runNamed(ctx, args, func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn, name string) error {
		if err := catalog.Drop(ctx, conn, name); err != nil {
			return err
		}
		fmt.Printf("dropped extension \"%s\" from database \"%s\"\n", name, conn.Database())
		return nil
	})
}

func runExtensionList(ctx context.Context, args []string) error {
	e := newExtensionCommand("list", "-D DIR -d DATABASE [-c NAME=VALUE]...", "Lists the extensions that there are, and what a database has of them.")
	if err := parse(e.flags, args); err != nil {
		return err
	}
	return e.withSession(ctx, func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn) error {
		available, err := catalog.Available()
		if err != nil {
			return err
		}
		installed, err := catalog.List(ctx, conn)
		if err != nil {
			return err
		}
		return tabulateExtensions(os.Stdout, available, installed)
	})
}

// tabulateExtensions prints a line for each extension that is available, or
// installed from scripts that are not.
func tabulateExtensions(w io.Writer, available []sql.Available, installed []sql.Installed) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "NAME\tAVAILABLE\tINSTALLED\tSCHEMA\tLOCATION\tCOMMENT\n")
	for _, i := range installed {
		if !slices.ContainsFunc(available, func(a sql.Available) bool { return a.Name == i.Name }) {
			available = append(available, sql.Available{Name: i.Name})
		}
	}
	slices.SortFunc(available, func(a, b sql.Available) int { return strings.Compare(a.Name, b.Name) })
	has := make(map[string]sql.Installed)
	for _, i := range installed {
		has[i.Name] = i
	}
	for _, a := range available {
		i := has[a.Name]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(a.Name), orDash(a.Version), orDash(i.Version), orDash(i.Schema), orDash(a.Location), orDash(a.Comment))
	}
	return table.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return printable(text)
}

// warnOfMissingRoles says what an administrator has to do for others than the
// owner to use the schema.
func warnOfMissingRoles(ctx context.Context, conn *connect.Conn, name string) error {
	if name != sql.SchemaExtension {
		return nil
	}
	missing, err := sql.MissingRoles(ctx, conn)
	if err == nil && len(missing) > 0 {
		printReport(os.Stderr, elog.New(elog.Warning, elog.InsufficientPrivilege, "permission denied to create role \"%s\"", strings.Join(missing, `", "`)).
			WithDetail("Until there are these roles, only \"%s\" can use the schema.", conn.User()).
			WithHint("Have them created (CREATE ROLE …), then run \"pgexthost extension upgrade %s\".", name))
	}
	return err
}

// extensionCommand is what the subcommands have in common.
type extensionCommand struct {
	flags         *pflag.FlagSet
	dir, database string
	settings      *[]string
}

func newExtensionCommand(name, synopsis, text string) *extensionCommand {
	e := &extensionCommand{flags: newFlags("extension "+name, synopsis, text)}
	dataDirFlag(e.flags, &e.dir)
	e.flags.StringVarP(&e.database, "dbname", "d", "", "the `DATABASE`")
	e.settings = settingsFlag(e.flags)
	return e
}

// runNamed runs a subcommand that takes the name of an extension.
func (e *extensionCommand) runNamed(ctx context.Context, args []string, do func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn, name string) error) error {
	if err := parseWithArguments(e.flags, args, 1); err != nil {
		return err
	}
	if e.flags.NArg() == 0 {
		return subcommandError(e.flags.Name(), "which extension? say its name, which \"pgexthost extension list\" shows")
	}
	return e.withSession(ctx, func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn) error {
		return do(ctx, catalog, conn, e.flags.Arg(0))
	})
}

// withSession opens a session with the database, as the host's user, and the
// catalog of the extensions that there are.
func (e *extensionCommand) withSession(ctx context.Context, do func(ctx context.Context, catalog sql.Catalog, conn *connect.Conn) error) error {
	if err := requireDataDir(e.flags, e.dir); err != nil {
		return err
	}
	if e.database == "" {
		return elog.New(elog.Error, elog.SyntaxError, "no database specified").
			WithHint("Say -d DATABASE. Try \"pgexthost %s --help\" for more information.", e.flags.Name())
	}
	if err := checkVisit(e.dir); err != nil {
		return err
	}
	store, err := configuredSettings(e.dir, *e.settings)
	if err != nil {
		return err
	}
	catalog, err := sql.OpenCatalog(store.String(settings.ExtensionControlPath))
	if err != nil {
		return err
	}
	config, err := connect.ParseConninfo(store.String(settings.ServerConninfo))
	if err != nil {
		return err
	}
	if config, err = config.ForDatabase(e.database); err != nil {
		return err
	}
	conn, err := connect.Open(ctx, config, "pgexthost extension", connect.IgnoreDatabaseRole())
	if err != nil {
		return err
	}
	defer conn.HangUp(context.WithoutCancel(ctx))
	return do(ctx, catalog, conn)
}

// configuredSettings returns the host's own settings as the files and options say.
// The libraries, which have nothing to do with them, are left alone.
func configuredSettings(dir string, options []string) (*guc.Store, error) {
	conf := settings.ReadFiles(filepath.Join(dir, settings.ConfigFileName))
	for _, text := range options {
		item, err := guc.ParseOption(text)
		if err != nil {
			return nil, err
		}
		conf.Items = append(conf.Items, item)
	}
	store := guc.NewStore(settings.Definitions()...)
	var problems []*elog.ErrorData
	fatal := false
	for _, report := range store.ApplyStartup(conf) {
		problems, fatal = append(problems, report), fatal || report.Level >= elog.Fatal
	}
	if !fatal {
		return store, nil
	}
	for _, p := range problems {
		printReport(os.Stderr, elog.AsErrorData(p, elog.Error))
	}
	return nil, exitStatus(1)
}
