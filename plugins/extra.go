package plugins

import (
	"bytes"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// TextExtra packs a text, such as the name of a table, into a worker's Extra,
// for ExtraText. It returns an error with SQLSTATE 22023 if the
// text is longer than BGWExtraLen bytes, which copy would cut, or contains a NUL
// byte, which would end it.
func TextExtra(text string) (extra [BGWExtraLen]byte, err error) {
	switch {
	case len(text) > BGWExtraLen:
		return extra, elog.New(elog.Error, elog.InvalidParameterValue, "extra data are longer than %d bytes", BGWExtraLen).
			WithDetail("There are %d bytes.", len(text))
	case strings.IndexByte(text, 0) >= 0:
		return extra, elog.New(elog.Error, elog.InvalidParameterValue, "extra data contain a NUL byte")
	}
	copy(extra[:], text)
	return extra, nil
}

// ExtraText returns the text that TextExtra or "pgexthost launch --extra" has
// packed into Extra: what there is before the first NUL byte.
func ExtraText(w BackgroundWorker) string {
	text, _, _ := bytes.Cut(w.Extra[:], []byte{0})
	return string(text)
}
