package elog

// SQLState is a five-character SQLSTATE of PostgreSQL's errcodes.txt.
type SQLState string

// The codes that the host and its workers raise themselves, or act upon. Errors of the real
// server keep the code it sent, whether listed here or not.
const (
	SuccessfulCompletion       SQLState = "00000"
	WarningCode                SQLState = "01000"
	ConnectionException        SQLState = "08000"
	SQLClientUnableToConnect   SQLState = "08001"
	ConnectionDoesNotExist     SQLState = "08003"
	ConnectionFailure          SQLState = "08006"
	ProtocolViolation          SQLState = "08P01"
	FeatureNotSupported        SQLState = "0A000"
	CharacterNotInRepertoire   SQLState = "22021"
	InvalidParameterValue      SQLState = "22023"
	InvalidTextRepresentation  SQLState = "22P02"
	InFailedSQLTransaction     SQLState = "25P02"
	InvalidAuthorization       SQLState = "28000"
	InvalidPassword            SQLState = "28P01"
	UndefinedDatabase          SQLState = "3D000"
	SerializationFailure       SQLState = "40001"
	DeadlockDetected           SQLState = "40P01"
	InsufficientPrivilege      SQLState = "42501"
	SyntaxError                SQLState = "42601"
	InvalidName                SQLState = "42602"
	UndefinedObject            SQLState = "42704"
	UndefinedFunction          SQLState = "42883"
	WrongObjectType            SQLState = "42809"
	UndefinedFile              SQLState = "58P01"
	DuplicateFile              SQLState = "58P02"
	InsufficientResources      SQLState = "53000"
	DiskFull                   SQLState = "53100"
	OutOfMemory                SQLState = "53200"
	TooManyConnections         SQLState = "53300"
	ConfigurationLimitExceeded SQLState = "53400"
	ProgramLimitExceeded       SQLState = "54000"
	ObjectNotInPrerequisite    SQLState = "55000"
	CantChangeRuntimeParam     SQLState = "55P02"
	QueryCanceled              SQLState = "57014"
	AdminShutdown              SQLState = "57P01"
	CrashShutdown              SQLState = "57P02"
	CannotConnectNow           SQLState = "57P03"
	SystemError                SQLState = "58000"
	IOError                    SQLState = "58030"
	ConfigFileError            SQLState = "F0000"
	LockFileExists             SQLState = "F0001"
	InternalError              SQLState = "XX000"
)

// Class returns the first two characters of the code, which name its class.
func (s SQLState) Class() string {
	if len(s) < 2 {
		return ""
	}
	return string(s[:2])
}

// IsServerEvent reports whether an error with this code tells of an event of the
// real server rather than of a failure of the worker that got it: a connection
// lost or not made (class 08), a shutdown (57P01), a crash (57P02), a server that
// does not accept sessions at present (57P03) or has no room for one (53300). The
// host starts such a worker again once the server is back.
func (s SQLState) IsServerEvent() bool {
	switch s {
	case AdminShutdown, CrashShutdown, CannotConnectNow, TooManyConnections:
		return true
	}
	return s.Class() == ConnectionException.Class()
}
