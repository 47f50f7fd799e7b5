package guc_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
)

func FuzzAnyBytesAreAFile(f *testing.F) {
	for _, text := range []string{
		"a = 1\nb.c = 'it''s \\101' # c\n", "include 'h.conf'", "include_dir '.'", "a = 'x\\\n", "a=-0x1Fmin\r\n= =", "\x00\xff'", "a 1.5e+3",
		"include_if_exists './h.conf'\nworker_spi.naptime = 0", "MAX_WORKER_PROCESSES = 1e400", "worker_spi.naptime = 13\nworker_stop_timeout = 1min",
	} {
		f.Add([]byte(text), []byte("worker_stop_timeout = 5"))
	}
	f.Fuzz(func(t *testing.T, text, next []byte) {
		c := conf(string(text))
		checkConfig(t, c, string(text))
		s := guc.NewStore(hostDefs()...)
		s.ApplyStartup(c)
		allAcceptable(t, s)
		def := naptime()
		def.CheckHook = notThirteen
		_, _ = s.Define(def)
		allAcceptable(t, s)
		s.MarkPrefixReserved("worker_spi")
		s.EndStartup()
		s.ApplyReload(conf(string(next)))
		allAcceptable(t, s)
		s.ApplyReload(c)
		allAcceptable(t, s)
		child, reports := guc.NewChildStore(s.Items(), append(hostDefs(), def)...)
		if len(reports) != 0 || !slices.Equal(child.Items(), s.Items()) {
			t.Errorf("the child has %v, %v, the postmaster %v", child.Items(), reports, s.Items())
		}
		child.ApplyReload(conf(string(next)))
		allAcceptable(t, child)
	})
}

// checkConfig checks what is true of every file, whatever is in it.
func checkConfig(t *testing.T, c guc.Config, text string) {
	t.Helper()
	if (c.BadFile != "") != slices.ContainsFunc(c.Reports, isProblem) {
		t.Errorf("bad file %q but reports %v", c.BadFile, c.Reports)
	}
	lastLine := strings.Count(text, "\n") + 1
	for _, it := range c.Items {
		if it.Line < 1 || it.Line > lastLine || it.Name == "" || strings.ContainsAny(it.Name+it.Value, "\x00") {
			t.Errorf("got %+v", it)
		}
	}
	for _, e := range c.Reports {
		if _, line := placeOf(e); line > lastLine || strings.Contains(e.Message, "\x00") {
			t.Errorf("got %+v", e)
		}
	}
}

// allAcceptable checks that every variable has a value that its definition
// accepts.
func allAcceptable(t *testing.T, s *guc.Store) {
	t.Helper()
	for _, set := range s.Settings() {
		if v, err := guc.Parse(set.Definition, set.Value.String()); err != nil || v != set.Value {
			t.Errorf("%s has the value %q: %v", set.Definition.Name, set.Value, err)
		}
	}
}

// What a program writes into a file for a person is what the file says.
func FuzzQuotedTextIsReadBack(f *testing.F) {
	for _, text := range []string{"host=/tmp", `it's \n`, "a\nb", `\`, `'`, "''", "#", "\r\t\f\v", "\xff", `\'`, "a\r\n", "\\101"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\x00") || text == "" {
			return // no connection string has one; the sample leaves the empty one out
		}
		c := guc.ParseBytes("sample", []byte(settings.Sample(text)))
		if c.BadFile != "" || len(c.Items) != 1 || c.Items[0].Value != text {
			t.Errorf("%q: got %+v", text, c)
		}
		c = conf("a = " + quote(strings.ReplaceAll(text, "\n", "")))
		if c.BadFile != "" || len(c.Items) != 1 || c.Items[0].Value != strings.ReplaceAll(text, "\n", "") {
			t.Errorf("%q: got %+v", text, c)
		}
	})
}

// FuzzGeneratedFiles lets the fuzzer look for seeds of generated files with
// more than one file in them.
func FuzzGeneratedFiles(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, tame bool) {
		tree := generate(seed, hostDefs(), tame)
		dir := t.TempDir()
		c := guc.ParseFile(tree.write(t, dir))
		for _, it := range c.Items {
			name := strings.TrimPrefix(it.File, dir+"/")
			if text, ok := tree.files[name]; !ok || it.Line < 1 || it.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%v: got %+v", tree, it)
			}
		}
		s := guc.NewStore(hostDefs()...)
		s.ApplyStartup(c)
		allAcceptable(t, s)
		s.ApplyReload(c)
		allAcceptable(t, s)
	})
}
