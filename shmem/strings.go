package shmem

// putString stores s as a NUL-terminated C string, truncated to fit. The rest
// of dst is zeroed, so that no bytes of an earlier text remain.
func putString(dst []byte, s string) {
	n := copy(dst[:len(dst)-1], s)
	clear(dst[n:])
}

// safeString reads a C string that anybody may have overwritten, even while it
// is being read: bounded, and with every byte that is not printable ASCII or
// white space replaced by '?'. Mirrors ascii_safe_strlcpy.
func safeString(src []byte) string {
	out := make([]byte, 0, len(src))
	for _, c := range src[:len(src)-1] {
		switch {
		case c == 0:
			return string(out)
		case c >= 32 && c <= 126, c == '\n', c == '\r', c == '\t':
			out = append(out, c)
		default:
			out = append(out, '?')
		}
	}
	return string(out)
}

// SafeText returns a text as shared memory gives it back: with a '?' for every
// byte that is not printable ASCII or white space. Whoever looks for a name that
// somebody has registered compares with that.
func SafeText(s string) string { return safeString(append([]byte(s), 0)) }
