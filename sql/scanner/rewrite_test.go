package scanner

import "testing"

func TestEditsAreAppliedInAnyOrder(t *testing.T) {
	for _, c := range []struct {
		edits []Edit
		want  string
	}{
		{nil, "abcdef"},
		{[]Edit{{1, 2, "XY"}}, "aXYcdef"},
		{[]Edit{{4, 6, ""}, {0, 1, "X"}}, "Xbcd"},
		{[]Edit{{3, 3, "X"}, {6, 6, "Y"}}, "abcXdefY"},
		{[]Edit{{1, 4, "X"}, {2, 3, "Y"}}, "aXef"},                                         // overlaps
		{[]Edit{{-1, 2, "X"}, {5, 7, "X"}, {4, 3, "X"}, {9, 9, "X"}, {1, 2, ""}}, "acdef"}, // out of the text
	} {
		if got, _ := Rewrite("abcdef", c.edits, usual); got != c.want {
			t.Errorf("%v: got %s, want %s", c.edits, got, c.want)
		}
	}
}

func TestAPositionLeadsBackToTheClientsText(t *testing.T) {
	const sql = "üa FROM x, ü FROM yz ü"
	text, p := Rewrite(sql, []Edit{{9, 10, "schéma.x"}, {20, 22, ""}}, usual)
	if text != "üa FROM schéma.x, ü FROM  ü" {
		t.Fatalf("got %q", text)
	}
	for position, want := range map[int]int{
		-1: -1, 0: 0, 1: 1, 2: 2, 8: 8,
		9: 9, 10: 9, 16: 9, // schéma.x
		17: 10, 19: 12, 25: 18, 26: 21, 27: 22, 28: 23, 100: 95,
	} {
		if got := p.Original(position); got != want {
			t.Errorf("position %d: got %d, want %d", position, got, want)
		}
	}
	if got := (Positions{}).Original(7); got != 7 {
		t.Errorf("without edits: got %d", got)
	}
}

func TestCharactersAreCountedAsTheServerCountsThem(t *testing.T) {
	for _, c := range []struct {
		client, server, text string
		want                 int
	}{
		{"UTF8", "UTF8", "aüx😀", 4},
		{"UTF8", "", "aü\xff\xe2\x82", 4},
		{"unicode", "LATIN1", "ü", 1},
		{"LATIN1", "UTF8", "\xfc\xfc", 2},
		{"UTF8", "SQL_ASCII", "ü", 2},
		{"SQL_ASCII", "UTF8", "ü", 1},
		{"SQL_ASCII", "SQL_ASCII", "ü", 2},
		{"EUC_JP", "UTF8", "a\xb0\xa1\x8e\xb1\x8f\xb0\xa1", 4},
		{"EUC_KR", "UTF8", "\xb0\xa1x", 2},
		{"EUC_CN", "UTF8", "\xb0\xa1x", 2},
		{"EUC_TW", "UTF8", "\xb0\xa1\x8e\xa2\xa1\xa1x", 3},
		{"MULE_INTERNAL", "", "\x81\xa1\x92\xa1\xa1\x9a\xa0\xa1\x9c\xf0\xa1\xa1x", 5},
	} {
		if got := widthOf(Options{ClientEncoding: c.client, ServerEncoding: c.server}).count(c.text); got != c.want {
			t.Errorf("%s to %s: got %d, want %d", c.client, c.server, got, c.want)
		}
	}
}
