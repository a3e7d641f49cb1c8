SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PLUGIN   := vault-plugin-secrets-auth0
# A tag like v1.2.3 as it is; anything else is a development version.
VERSION  ?= $(shell git describe --tags --exact-match --match 'v[0-9]*.[0-9]*.[0-9]*' 2>/dev/null || echo v0.1.0-dev)
LINT     := .cache/golangci-lint-v2.15.0/golangci-lint
LINTFROM := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

step = @printf '\n==> %s\n' "$(1)"

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the plugin into bin/
	$(call step,Building the plugin $(VERSION) (the first time its dependencies are fetched and compiled: some minutes))
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X vault-plugin-secrets-auth0.Version=$(VERSION)" -o bin/$(PLUGIN) ./cmd/$(PLUGIN)

.PHONY: demo
demo: build vault ## Watch a real Vault rotate an application's secret while it logs in
	$(call step,The demo)
	@go build -o bin/demo ./scripts/demo
	@exec bin/demo

.PHONY: dev
dev: build vault ## Leave the demo's Vault and tenant running, and print commands to try
	@go build -o bin/demo ./scripts/demo
	@exec bin/demo -stay

.PHONY: test
test: lint unit fuzz integration ## Run all tests: linters, unit tests, a little fuzzing, and the integration suite on a real Vault and Agent
	$(call step,All tests passed)

.PHONY: unit
unit: ## Run the unit tests, with the race detector
	@command -v "$$(go env CC)" >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang" >&2; exit 1; }
	$(call step,Unit tests with the race detector (the first time everything is compiled for it: some minutes))
	go vet ./...
	go vet -tags integration ./integration/
	go test -race ./...

FUZZTIME ?= 3s
.PHONY: fuzz
fuzz: ## Fuzz requests, stored entries, names and upstream answers (FUZZTIME=10m for a long run)
	$(call step,Fuzzing each target for $(FUZZTIME))
	@for target in FuzzRequests FuzzStoredEntries FuzzRoleNames; do \
		echo "$$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) . ; done
	@echo FuzzAnswers; go test -run '^$$' -fuzz '^FuzzAnswers$$' -fuzztime $(FUZZTIME) ./internal/auth0

SOAK ?= 1000-3000
.PHONY: soak
soak: ## Run many more random histories than make test does (SOAK=first-last seed)
	$(call step,Random histories with the seeds $(SOAK) (some minutes))
	HISTORY_SEEDS=$(SOAK) go test -timeout 4h -run TestHistories -v . | grep --line-buffered -v -e '^=== ' -e '^ *--- PASS'

.PHONY: integration
integration: build vault ## Run the integration suite on a real Vault and Agent
	$(call step,Integration tests on a real Vault and Agent (two to three minutes; each test reports when it is through))
	go test -race -tags integration -count=1 -parallel 12 -timeout 20m -v ./integration/ 2>&1 | grep --line-buffered -v -e '^=== '

.PHONY: bench
bench: build vault ## Measure the engine beside a plugin that does nothing, and at a tenant's rate limit (about ten minutes)
	$(call step,Benchmarks)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/floor-plugin ./cmd/floor-plugin
	@go build -o bin/bench ./scripts/bench
	@exec bin/bench

PROFILE = go test -run '^$$' -bench $(1) -benchtime $(2) -cpuprofile .bench/$(3).prof -o .bench/$(3).test . && go tool pprof -top -cum .bench/$(3).test .bench/$(3).prof 2>/dev/null | head -n 60
.PHONY: profile
profile: ## Profile reads of credentials, and rotations, within the plugin
	@mkdir -p .bench
	$(call step,Reads)
	@$(call PROFILE,'Read/(creds|static-creds)/roles=1$$',2s,read)
	$(call step,Rotations)
	@$(call PROFILE,'Rotation/forced',20000x,rotation)

.PHONY: vault
vault: ## Find a real Vault, or build one: VAULT_BIN, then PATH, then .cache
	$(call step,A real Vault)
	@scripts/vault.sh

.PHONY: lint
lint: $(LINT) ## Run golangci-lint
	$(call step,Linters)
	$(LINT) run ./...

$(LINT):
	$(call step,Building golangci-lint (once: some minutes))
	GOBIN=$(CURDIR)/$(dir $(LINT)) CGO_ENABLED=0 go install $(LINTFROM)

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt ./...

.PHONY: clean
clean: ## Remove what was built, but not the cached Vault
	rm -rf bin .bench

.PHONY: distclean
distclean: clean ## Remove the cached Vault and golangci-lint, too
	rm -rf .cache
