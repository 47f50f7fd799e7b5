# Everything but "race" is built without cgo.
export CGO_ENABLED := 0

GO            ?= go
GOLANGCI_LINT := v2.15.0
COMPOSE_GO    := v2.16.2
ACTIONLINT    := v1.7.12
TOOLS         := $(CURDIR)/.tools
TESTFLAGS     ?=
COUNT         ?= 1

.DEFAULT_GOAL := help
.PHONY: help build demo test test-matrix portable torture race lint lint-specs bench soak mutants fuzz postgres clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/pgexthost, statically linked, and lib/pgexthost/worker_spi
	@$(GO) build -trimpath -o bin/ ./cmd/pgexthost
	@$(GO) build -trimpath -o lib/pgexthost/ ./cmd/worker_spi

demo: build postgres ## See worker_spi work, end to end, against a private server
	@bin/pgexthost demo

test: build postgres ## Run all tests, with real processes and a real server (COUNT=20 repeats)
	$(GO) test -timeout 20m -count=$(COUNT) $(TESTFLAGS) ./...

test-matrix: ## Run the integration tests on PostgreSQL 15 to 18, and tabulate (VERSIONS='16 18', TESTFLAGS='-run Worker')
	@GO="$(GO)" scripts/test-matrix '$(or $(VERSIONS),15 16 17 18)' -timeout 1h $(TESTFLAGS)

portable: postgres ## Run what works without a host as on macOS: with the portable files in the place of Linux's
	$(GO) test -tags portable -count=$(COUNT) -run 'Latch|WakeUp|Sleep|Word|Bed' ./shmem
	$(GO) test -tags portable -count=$(COUNT) $(TESTFLAGS) ./plugins/... ./workerspi ./examples/heartbeat

torture: build ## Garbage in shared memory, random scripts against the model, and kills at random points, for long (ROUNDS=10000 CHECKS=100000 KILLS=1000)
	PGEXTHOST_TORTURE=$(or $(ROUNDS),10000) $(GO) test -count=1 -timeout 30m -v -run 'SharedMemory' ./host ./integration
	PGEXTHOST_DEEP_MODEL=1 $(GO) test -count=1 -timeout 1h -run 'Model|Interleaving' ./shmem
	$(GO) test -run TheMachineDoes -rapid.checks=$(or $(CHECKS),100000) -timeout 1h ./host/postmaster
	$(GO) test -run TestRealProcesses -rapid.checks=300 -timeout 1h ./integration
	PGEXTHOST_TEST_REQUEST_ROUNDS=$(or $(KILLS),1000) $(GO) test -count=1 -timeout 1h -v -run TestEachRequestRunsOnce ./integration
	PGEXTHOST_TEST_REQUEST_KILLS=$(or $(KILLS),500) $(GO) test -count=1 -timeout 2h -v -run 'TestAKillAtAnyStep|TestKillsAtRandomSteps' ./integration
	PGEXTHOST_TEST_CALLS=$(or $(ROUNDS),10000) $(GO) test -count=1 -timeout 1h -v -run TestRandomCalls ./sql/call
	PGEXTHOST_TEST_GATEWAY_CALLS=$(or $(ROUNDS),10000) $(GO) test -count=1 -timeout 1h -v -run TestRandomCallsThrough ./integration
	PGEXTHOST_TEST_RANDOM_KILLS=$(or $(KILLS),1000) $(GO) test -count=1 -timeout 1h -v -run TestKillsAtRandomPoints ./integration

# Without the tests of documents and of the image, which run programs that were built
# without it.
race: build postgres ## Run all tests but those of the documents and the image under the race detector (needs gcc; TESTFLAGS=-short: the quick ones)
	PGEXTHOST_ROUNDS=$(or $(ROUNDS),30) CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 $(GO) test -race -timeout 20m -count=$(COUNT) $(TESTFLAGS) $$($(GO) list ./... | grep -v -e '/docs$$' -e '/container$$')

lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT) ## Run the linters, and check what no linter knows
	@$< run
	@scripts/check-rules
	@$(MAKE) --no-print-directory lint-specs

lint-specs: # Check the compose file and the workflows against their schemas, which these modules carry
	@$(GO) run github.com/compose-spec/compose-go/v2/cmd@$(COMPOSE_GO) docker-compose.yml >/dev/null
	@$(GO) run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT)

bench: postgres ## Run the benchmarks into bench.txt, for benchstat, and sum them up (COUNT=10, BENCH=Worker)
	@GO="$(GO)" scripts/bench $(COUNT) '$(or $(BENCH),.)'

soak: build ## Let 400 workers come and go for two minutes (SOAK=10m, WORKERS=100)
	PGEXTHOST_SOAK=$(or $(SOAK),2m) PGEXTHOST_SOAK_WORKERS=$(or $(WORKERS),400) $(GO) test -count=1 -v -timeout 1h -run '^TestSoak$$' ./integration

mutants: ## Break each rule on purpose, and see that a test notices (BREAKS=regexp)
	@$(GO) run ./internal/mutants '$(BREAKS)'

fuzz: ## Run each fuzz target for a while (FUZZTIME=30s)
	@scripts/fuzz $(or $(FUZZTIME),10s)

postgres: # Make sure that there is a PostgreSQL server to test against
	@$(GO) run ./internal/localpg/findpg >/dev/null 2>&1 || scripts/install-postgres
	@$(GO) run ./internal/localpg/findpg

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(TOOLS)/golangci-lint $@

clean: ## Remove what was built
	rm -rf bin lib .tools bench.txt
