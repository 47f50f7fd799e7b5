package shmem_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

var (
	everything = []operation{opClaim, opClaimParallel, opLook, opTerminate, opAwaitStart, opAwaitEnd}
	parallels  = world{does: [...]backendsPart{{2, []operation{opClaimParallel, opTerminate}}, {2, []operation{opClaimParallel, opTerminate}}}}
	lookers    = world{does: [...]backendsPart{{2, []operation{opClaim, opLook}}, {1, []operation{opClaim, opLook, opTerminate}}}, restarts: true}
	alone      = world{does: [...]backendsPart{{3, []operation{opClaim, opTerminate, opAwaitEnd}}, {}}}
	awaiters   = world{does: [...]backendsPart{{2, []operation{opClaim, opAwaitStart, opAwaitEnd}}, {1, []operation{opClaim}}}, restarts: true}
	thefts     = world{does: [...]backendsPart{{2, []operation{opClaim, opLook, opTerminate}}, {1, []operation{opClaim, opTerminate}}}, thefts: 1}
	late       = world{does: [...]backendsPart{{3, []operation{opClaim, opTerminate}}, {1, []operation{opTerminate}}}}
	held       = world{does: [...]backendsPart{{3, []operation{opClaim, opRelease}}, {1, []operation{opRelease}}}, held: true}
	heldEnds   = world{does: [...]backendsPart{{2, []operation{opClaim, opRelease, opTerminate}}, {2, []operation{opRelease, opTerminate}}}, held: true, restarts: true}
	recyclers  = world{does: [...]backendsPart{{2, []operation{opClaim, opAwaitEnd}}, {2, []operation{opClaim, opTerminate}}}}
)

// deepModel makes the search go through two operations of any kind by each
// backend: 21 million states, a minute or more, 2 GB. It also shows of each order
// of steps that is said not to matter that it does not.
const deepModel = "PGEXTHOST_DEEP_MODEL"

func TestEveryInterleavingOfTheSlotProtocolKeepsItsInvariants(t *testing.T) {
	if underRace {
		t.Skip("a model is one goroutine: there is nothing to find for the race detector")
	}
	worlds := map[string]world{
		"everything, thrice":                             {does: [...]backendsPart{{2, everything}, {1, everything}}},
		"parallel workers":                               parallels,
		"looks, with restarts":                           lookers,
		"waits, with restarts":                           awaiters,
		"slots that are stolen":                          thefts,
		"late terminations":                              late,
		"held workers":                                   held,
		"held workers that end":                          heldEnds,
		"waits, with shutdown":                           {does: awaiters.does, stops: true},
		"one backend, thrice":                            {does: alone.does, restarts: true, stops: true},
		"restarts and shutdown":                          {does: [...]backendsPart{{1, everything}, {1, everything}}, restarts: true, stops: true},
		"everything, thrice, with restarts and shutdown": {does: [...]backendsPart{{2, everything}, {1, everything}}, restarts: true, stops: true},
		"slots that are recycled under a wait":           recyclers,
	}
	if os.Getenv(deepModel) != "" {
		worlds["everything, twice each"] = world{does: [...]backendsPart{{2, everything}, {2, everything}}}
	}
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			states, violation, path := newModel(w).explore()
			if violation != "" {
				t.Fatal(describe(violation, path))
			}
			t.Logf("%d states", states)
		})
	}
}

// The steps of the model are those of the code, in their order.
func TestTheModelHasTheStepsOfTheCode(t *testing.T) {
	await := awaitProgram(true)
	signal := append(codeSteps(t, "changes.go", "SendSlotChange"), codeSteps(t, "pmsignal.go", "SendPostmasterSignal")...)
	for name, tt := range map[string]struct {
		model program
		code  []string
	}{
		"Claim":              {claimProgram(), append(codeSteps(t, "slots.go", "Claim"), signal...)},
		"RequestTermination": {terminateProgram(), append(codeSteps(t, "slots.go", "RequestTermination"), signal...)},
		"Pid":                {lookProgram(), codeSteps(t, "slots.go", "Pid")},
		"Terminating":        {await[await.index("terminate.Load"):await.index("is over")], codeSteps(t, "slots.go", "Terminating")},
		"OpenGate":           {openProgram(), append(codeSteps(t, "gate.go", "OpenGate"), codeSteps(t, "gate.go", "WakeAtGate")...)},
		"MayPass":            {gateProgram()[:2], codeSteps(t, "gate.go", "MayPass")},
		"Restore":            {restoreProgram(), codeSteps(t, "slots.go", "Restore")},
		"SetPid and Release": {retireProgram(), append(codeSteps(t, "slots.go", "SetPid"), codeSteps(t, "slots.go", "Release")...)},
	} {
		var steps []string
		for _, st := range tt.model {
			for _, name := range strings.Split(strings.NewReplacer(" again", "", " 0", "", " 1", "", ", first half", "", ", second half", "").Replace(st.name), " ") {
				if !st.local && name != "Notify" && !slices.Contains(steps[max(0, len(steps)-1):], name) {
					steps = append(steps, strings.Replace(name, "SetPid", "pid.Store", 1))
				}
			}
		}
		if !slices.Equal(steps, tt.code) {
			t.Errorf("%s: the model has\n\t%q, the code\n\t%q", name, steps, tt.code)
		}
	}
}

// codeSteps returns what a function of this package does to shared memory, in
// the order of the source, with what it defers at its end.
func codeSteps(t *testing.T, file, function string) (steps []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var deferred []string
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == function {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.DeferStmt:
					deferred = append(deferred, sharedCall(n.Call)...)
					return false
				case *ast.CallExpr:
					steps = append(steps, sharedCall(n)...)
				}
				return true
			})
		}
	}
	if len(steps) == 0 {
		t.Fatalf("%s has no function %s that does anything", file, function)
	}
	return append(steps, deferred...)
}

// sharedCall returns the name of a step of the model if the call is one. Those on
// reports are none: they have a seqlock of their own, and no part in the protocol.
func sharedCall(call *ast.CallExpr) []string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	switch name := method.Sel.Name; name {
	case "lock", "unlock", "Ring", "Set":
		return []string{name}
	case "Load", "Store", "Add", "Swap", "Or", "And", "CompareAndSwap", "store":
		of := method.X
		if indexed, ok := of.(*ast.IndexExpr); ok {
			of = indexed.X
		}
		field := of.(*ast.SelectorExpr)
		if whole, ok := field.X.(*ast.SelectorExpr); field.Sel.Name == "report" || ok && whole.Sel.Name == "report" {
			return nil
		}
		return []string{field.Sel.Name + "." + name}
	}
	return nil
}
