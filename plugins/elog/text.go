package elog

// appendText renders a record as the destination stderr does: the message, then
// DETAIL, HINT, CONTEXT and STATEMENT on lines of their own, each with the
// prefix. lines is how many lines there were before; the new number is
// returned.
func (r *record) appendText(b []byte, lines uint64) ([]byte, uint64) {
	for i, part := range [...]struct{ label, text string }{
		{r.report.Level.severity(), r.report.Message}, {"DETAIL", r.report.Detail}, {"HINT", r.report.Hint},
		{"CONTEXT", r.report.Context}, {"STATEMENT", r.statement()},
	} {
		if part.text == "" && i > 0 {
			continue
		}
		lines++
		b = r.appendPrefix(b, lines)
		b = append(b, part.label...)
		b = append(b, ":  "...)
		b = appendWithTabs(b, part.text)
		b = append(b, '\n')
	}
	return b, lines
}

// appendWithTabs starts continuation lines with a tab, so that no text can look
// like a log line of its own. Nothing else is escaped, as in PostgreSQL.
func appendWithTabs(b []byte, text string) []byte {
	for i := range len(text) {
		b = append(b, text[i])
		if text[i] == '\n' {
			b = append(b, '\t')
		}
	}
	return b
}

// statement is the report's statement if its level is one that statements are
// logged for: log_min_error_statement is always error. Mirrors
// check_log_of_query.
func (r *record) statement() string {
	if !r.report.Level.LoggedAt(Error) {
		return ""
	}
	return r.report.Statement
}
