package guc

// ParseUnreadable parses a configuration file that the system can't read.
func ParseUnreadable(path string, err error) Config { return parseFiles(unreadable{err}, path) }

type unreadable struct{ err error }

func (u unreadable) read(string) (string, error)   { return "", u.err }
func (u unreadable) list(string) ([]string, error) { return nil, u.err }
func (u unreadable) isDir(string) (bool, error)    { return false, u.err }
