package scanner

// isReserved reports whether an unquoted word can't be a name at all: the
// RESERVED_KEYWORDs of kwlist.h, PostgreSQL 16's.
func isReserved(word string) bool {
	switch fold(word) {
	case "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast",
		"check", "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role",
		"current_time", "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do",
		"else", "end", "except", "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in",
		"initially", "intersect", "into", "lateral", "leading", "limit", "localtime", "localtimestamp", "not",
		"null", "offset", "on", "only", "or", "order", "placing", "primary", "references", "returning", "select",
		"session_user", "some", "symmetric", "system_user", "table", "then", "to", "trailing", "true", "union",
		"unique", "user", "using", "variadic", "when", "where", "window", "with":
		return true
	}
	return false
}

// isTypeOrFunction reports whether an unquoted word can name types and functions
// only: the TYPE_FUNC_NAME_KEYWORDs of kwlist.h.
func isTypeOrFunction(word string) bool {
	switch fold(word) {
	case "authorization", "binary", "collation", "concurrently", "cross", "current_schema", "freeze", "full",
		"ilike", "inner", "is", "isnull", "join", "left", "like", "natural", "notnull", "outer", "overlaps",
		"right", "similar", "tablesample", "verbose":
		return true
	}
	return false
}
