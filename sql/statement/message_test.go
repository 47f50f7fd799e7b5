package statement_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/sql/statement"
)

func TestOnlyMessagesWithTheNonceAreTheGateways(t *testing.T) {
	notice := pgproto3.NoticeResponse{Code: "PX002", Message: "CREATE EXTENSION", Detail: nonce}
	if tag, ok := statement.Tag(&notice, nonce); !ok || tag != "CREATE EXTENSION" {
		t.Errorf("got %q, %v", tag, ok)
	}
	for _, other := range []string{"", "another"} {
		notice.Detail = other
		if tag, ok := statement.Tag(&notice, nonce); ok {
			t.Errorf("took %q with DETAIL %q", tag, other)
		}
		if _, ok := statement.Tag(&notice, ""); ok {
			t.Errorf("took DETAIL %q without a nonce", other)
		}
	}
	forged := pgproto3.ErrorResponse{Code: "UE001", ConstraintName: "pgexthost:another", Where: "here", Line: 5, Routine: "exec_stmt_raise"}
	for _, e := range []pgproto3.ErrorResponse{forged, {Where: "here", ConstraintName: "pgexthost:"}, {Where: "here"}} {
		if before := e; statement.Polish(&e, nonce) || statement.Polish(&e, "") || e.Where != before.Where || e.Line != before.Line {
			t.Errorf("%+v became %+v", before, e)
		}
	}
	ours := pgproto3.ErrorResponse{
		Code: "22012", Message: "division by zero", ConstraintName: "pgexthost:" + nonce, DataTypeName: "the place", Where: "PL/pgSQL function inline_code_block",
		File: "pl_exec.c", Line: 3, Routine: "exec_stmt_raise", InternalQuery: "x", InternalPosition: 2, Position: 1,
	}
	if !statement.Polish(&ours, nonce) || ours.Where != "the place" || ours.Message != "division by zero" || ours.Code != "22012" ||
		ours.ConstraintName+ours.DataTypeName+ours.File+ours.Routine+ours.InternalQuery != "" || ours.Line+ours.InternalPosition+ours.Position != 0 {
		t.Errorf("got %+v", ours)
	}
}
