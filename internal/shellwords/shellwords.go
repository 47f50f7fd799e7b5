// Package shellwords splits a line into words as a POSIX shell does, and quotes
// words so that a shell reads them back.
//
// It knows quotes and backslashes, and nothing else of the shell: no variable,
// command, file name or tilde is expanded, and ; | & < > ( ) # mean themselves.
// A program can take options of somebody else's from one argument that way
// without handing it to a shell, which would run what stands in it.
//
// Invariant: Split(Quote(words…)) returns the words.
package shellwords

import (
	"errors"
	"strings"
)

// The errors of Split.
var (
	// ErrUnterminatedQuote says that a quoted string has no end.
	ErrUnterminatedQuote = errors.New("unterminated quoted string")
	// ErrTrailingBackslash says that nothing follows the last backslash. Shells
	// disagree on what that means.
	ErrTrailingBackslash = errors.New("nothing follows the backslash at the end")
)

const (
	blanks = " \t\n"
	// special characters keep their backslash's meaning in double quotes.
	special = "$`\"\\\n"
)

// Split returns the words of a line. Newlines separate words like other blanks.
func Split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, blanks)
		if strings.HasPrefix(line, "\\\n") { // a continued line, not a word
			line = line[2:]
			continue
		}
		if line == "" {
			return words, nil
		}
		word, rest, err := cutWord(line)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), rest
	}
}

// cutWord returns the first word of a line that begins with one.
func cutWord(line string) (word, rest string, err error) {
	var b strings.Builder
	for line != "" && !strings.Contains(blanks, line[:1]) {
		var part string
		switch line[0] {
		case '\'':
			part, line, err = cutSingleQuoted(line[1:])
		case '"':
			part, line, err = cutDoubleQuoted(line[1:])
		case '\\':
			part, line, err = cutEscaped(line[1:])
		default:
			part, line = line[:1], line[1:]
		}
		if err != nil {
			return "", "", err
		}
		b.WriteString(part)
	}
	return b.String(), line, nil
}

func cutSingleQuoted(line string) (part, rest string, err error) {
	part, rest, found := strings.Cut(line, "'")
	if !found {
		return "", "", ErrUnterminatedQuote
	}
	return part, rest, nil
}

func cutDoubleQuoted(line string) (part, rest string, err error) {
	var b strings.Builder
	for line != "" {
		switch {
		case line[0] == '"':
			return b.String(), line[1:], nil
		case line[0] == '\\' && len(line) > 1 && strings.Contains(special, line[1:2]):
			part, line, _ = cutEscaped(line[1:]) // there is something to escape
			b.WriteString(part)
		default:
			b.WriteByte(line[0])
			line = line[1:]
		}
	}
	return "", "", ErrUnterminatedQuote
}

// cutEscaped returns what stands behind a backslash. An escaped newline is
// none.
func cutEscaped(line string) (part, rest string, err error) {
	switch {
	case line == "":
		return "", "", ErrTrailingBackslash
	case line[0] == '\n':
		return "", line[1:], nil
	}
	return line[:1], line[1:], nil
}

// plain are the characters that need no quotes in any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"

// Quote returns a line that a shell, like Split, splits into the words given.
// Words that need no quotes have none.
func Quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if word == "" || strings.Trim(word, plain) != "" {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
