SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PLUGIN   := vault-plugin-secrets-auth0
PROXY    := auth0-login-proxy
# A tag like v1.2.3 as it is; anything else is a development version.
VERSION  ?= $(shell git describe --tags --exact-match --match 'v[0-9]*.[0-9]*.[0-9]*' 2>/dev/null || echo v0.1.0-dev)
LINT     := .cache/golangci-lint-v2.15.0/golangci-lint
LINTFROM := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

GORELEASER := .cache/goreleaser-v2.16.0/goreleaser
SYFT       := .cache/syft-v1.52.0/syft
ACTIONLINT := .cache/actionlint-v1.7.12/actionlint
GOVULNCHECK := .cache/govulncheck-v1.8.0/govulncheck
LICENCES   := .cache/go-licence-detector-v0.11.1/go-licence-detector
CONSULTEMPLATE := .cache/consul-template-v0.41.1/consul-template
AUTHKUBERNETES := .cache/vault-plugin-auth-kubernetes-v0.23.0/vault-plugin-auth-kubernetes
# The Go that releases are built with, whichever is installed: the same bytes take the same compiler.
RELEASE_GO  = $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)

# What differs in a flag is compiled anew, with all that it imports. So there are two sets: all is
# compiled as the plugin is, but for the race detector, which needs C. A go test -race by hand
# shares that one.
GIVENFLAGS := $(filter-out -trimpath,$(shell go env GOFLAGS 2>/dev/null))
export GOFLAGS := $(GIVENFLAGS) -trimpath
export CGO_ENABLED := 0
RACE := CGO_ENABLED=1 GOFLAGS="$(GIVENFLAGS)" go test -race
# Tools go without what only a debugger reads, but share the standard library with the plugin.
INSTALL := go install -ldflags="-s -w" -gcflags=all=-dwarf=false -gcflags=std=

step = @printf '\n==> %s\n' "$(1)"

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the plugin and the login proxy into bin/
	$(call step,Building the plugin $(VERSION) (the first time its dependencies are fetched and compiled: some minutes))
	go build -trimpath -buildvcs=false -ldflags "-s -w -X vault-plugin-secrets-auth0.Version=$(VERSION)" -o bin/$(PLUGIN) ./cmd/$(PLUGIN)
	go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/$(PROXY) ./cmd/$(PROXY)

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
test: ## Run all tests: linters, unit tests, a little fuzzing, and the integration suite on a real Vault and OpenBao
	@$(MAKE) --no-print-directory -j4 IN_TURN=yes lint unit fuzz integration integration-openbao
	$(call step,All tests passed)

# In make test, what the suites need is built beside the linters and the unit tests, which leave a
# core idle at times; and all that follows runs at once, since the suites mostly wait. What would
# compile the same packages comes one after the other.
ifdef IN_TURN
race: | lint
fuzz: | race
$(GOVULNCHECK): | $(LINT)
vault: | $(GOVULNCHECK)
build: | vault lint
suite-programs: | build race
endif

.PHONY: check
check: $(LINT) ## While you work: the linter, and the short tests of what changed since main and of what imports it (under a minute)
	$(call step,Linter)
	$(LINT) run ./...
	$(call step,Short tests of what changed)
	@scripts/check.sh

.PHONY: unit
unit: race exploration ## Run the unit tests, with the race detector

.PHONY: race
race:
	@command -v "$$(go env CC)" >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang" >&2; exit 1; }
	$(call step,Unit tests with the race detector (the first time everything is compiled for it: some minutes))
	$(RACE) -vet=off ./... # golangci-lint vets it, with the integration suite

.PHONY: exploration
exploration: | race # nice: a suite may run beside it
	$(call step,Every sequence of moves in small worlds and random histories and crashes (about a minute))
	nice go test -run '^(TestExploration|TestHistories|TestEveryCrashPoint|TestReadersAreRightAtEveryInstant|TestEveryLiveLease.*)$$' -v . | grep --line-buffered -v -e '^=== ' -e '^ *--- PASS'

# The fuzzer is guided by the code that an input reaches: in a short run by that of this repository,
# in a longer one by all that is linked, which has to be compiled for it.
ifdef FUZZTIME
COVER := -fuzz .
else
FUZZTIME := 3s
COVER := -gcflags=$(PLUGIN)/...=-d=libfuzzer
endif
.PHONY: fuzz
fuzz: ## Fuzz requests, stored entries, names, credentials and upstream answers (FUZZTIME=10m for a long run)
	$(call step,Fuzzing each target for $(FUZZTIME))
	@go test -c -vet=off $(COVER) -o bin/fuzz.test .
	@go test -c -vet=off $(COVER) -o bin/fuzz-auth0.test ./internal/auth0
	@go test -c -vet=off $(COVER) -o bin/fuzz-login.test ./auth0login
	@go test -c -vet=off $(COVER) -o bin/fuzz-proxy.test ./auth0login/proxy
	@for target in FuzzRequests FuzzStoredEntries FuzzRoleNames; do echo "$$target"; $(call fuzz,bin/fuzz.test,$$target); done
	@cd internal/auth0; echo FuzzAnswers; $(call fuzz,../../bin/fuzz-auth0.test,FuzzAnswers)
	@cd auth0login; echo FuzzParseCredentials; $(call fuzz,../bin/fuzz-login.test,FuzzParseCredentials)
	@cd auth0login/proxy; echo FuzzProxy; $(call fuzz,../../bin/fuzz-proxy.test,FuzzProxy)

fuzz = $(1) -test.run '^$$' -test.fuzz "^$(2)$$" -test.fuzztime $(FUZZTIME) -test.fuzzcachedir "$$(go env GOCACHE)/fuzz/$(PLUGIN)"

SOAK ?= 1000-3000
EXPLORE ?= 30000
.PHONY: soak
soak: ## Explore further, and run more random histories, than make test does (EXPLORE=worlds of each kind, SOAK=first-last seed)
	$(call step,Every sequence of moves in $(EXPLORE) small worlds of each kind (about an hour))
	EXPLORE=$(EXPLORE) go test -timeout 4h -run '^TestExploration$$' -v . | grep --line-buffered -v -e '^=== '
	$(call step,Random histories with the seeds $(SOAK) (some minutes))
	HISTORY_SEEDS=$(SOAK) go test -timeout 4h -run TestHistories -v . | grep --line-buffered -v -e '^=== ' -e '^ *--- PASS'

# The suite runs twice: on Vault with all that the engine may be granted, and on OpenBao with
# the least, but for tests that are about a scope. So all of it runs on both servers, and no
# test is left out of either for taking long. Where no OpenBao can be had, Vault takes its place.
# Tests mostly wait for a ttl, so many of them run at once: the suite says how many have a Vault.
.PHONY: integration
integration: override export BAO_BIN := # also where make was given one
integration: build vault suite-programs ## Run the integration suite on a real Vault and Agent
	$(call step,Integration tests on a real Vault and Agent (about two minutes; each test reports when it is through))
	$(call suite,Vault)

.PHONY: integration-openbao
integration-openbao: build suite-programs ## Run it on a real OpenBao, with the scope update:client_keys alone: BAO_BIN, then PATH, then .cache
	$(call step,A real OpenBao)
	@BAO_BIN=$$(scripts/bao.sh); export BAO_BIN INTEGRATION_SCOPES=update:client_keys; \
	server=$$(scripts/vault.sh); \
	printf '\n==> Integration tests with one scope on %s (about two minutes)\n' "$$("$$server" version)"; \
	$(call suite,OpenBao)

# Each line says on which server: make test runs both suites at once.
suite = cd integration && ../bin/integration.test -test.parallel 100 -test.timeout 20m -test.v 2>&1 | awk '!/^=== / { print "$(1): " $$0; fflush() }'

.PHONY: suite-programs
suite-programs: # the suite, and what tests and documents build: not while others log in
	$(call step,Building the integration suite)
	$(RACE) -c -vet=off -tags integration -o bin/integration.test ./integration/
	@go build -o bin/ ./scripts/demo
	@go build -trimpath -buildvcs=false -ldflags "-s -w -X vault-plugin-secrets-auth0.Version=v9.9.9-test" -o bin/$(PLUGIN)-next ./cmd/$(PLUGIN)

.PHONY: matrix
matrix: build ## Run rotation, standbys, upgrade and unmount on several versions of Vault and OpenBao (MATRIX="vault-1.19.0 openbao-2.6.2" for some)
	$(call step,Versions of Vault and OpenBao (three minutes for each; a Vault is built once: five minutes more))
	@scripts/matrix.sh $(MATRIX)

.PHONY: conformance
conformance: build ## Ask a real Auth0 tenant whether it is as the engine assumes, and rotate a secret there (docs/auth0.md says how)
	$(call step,What the engine assumes of Auth0 (about two minutes))
	@go build -ldflags "-X vault-plugin-secrets-auth0.Version=$(VERSION)" -o bin/conformance ./scripts/conformance
	@differs=0; bin/conformance || differs=$$?; [ $$differs -le 1 ] || exit $$differs; \
	printf '\n==> A staged rotation there, on a real Vault (about a minute)\n'; \
	if scripts/vault.sh >/dev/null; then \
		go test -tags integration -count=1 -timeout 15m -run '^TestStagedRotationOnATenant$$' -v ./integration/ 2>&1 | grep --line-buffered -v -e '^=== '; \
	else echo "there is no Vault: not tried"; fi; exit $$differs

.PHONY: recipes
recipes: ## Log in with real applications in Node, Python and Java, by the recipes of docs/applications.md (needs the npm registry and Maven Central)
	$(call step,Recipes for applications: what is not installed is skipped by name)
	go vet -tags recipes ./examples/applications/
	go test -tags recipes -count=1 -timeout 20m -v ./examples/applications/ 2>&1 | grep --line-buffered -v -e '^=== '

.PHONY: bench
bench: build vault ## Measure the engine beside a plugin that does nothing, and at a tenant's rate limit (about six minutes)
	$(call step,Benchmarks)
	go -C bench build -trimpath -buildvcs=false -ldflags "-s -w" -o $(CURDIR)/bin/baseline-plugin ./baseline
	@go -C bench build -o $(CURDIR)/bin/bench .
	@exec bin/bench

PROFILE = go test -run '^$$' -bench $(1) -benchtime $(2) -cpuprofile .bench/$(3).prof -o .bench/$(3).test . && go tool pprof -top -cum .bench/$(3).test .bench/$(3).prof 2>/dev/null | head -n 60
.PHONY: profile
profile: ## Profile reads of credentials, and rotations, within the plugin
	@mkdir -p .bench
	$(call step,Reads)
	@$(call PROFILE,'Read/(creds|static-creds)/roles=1$$',2s,read)
	$(call step,Rotations)
	@$(call PROFILE,'Rotation/forced',20000x,rotation)

.PHONY: examples
examples: build vault $(CONSULTEMPLATE) ## Test the examples with the programs they are for, as far as those can be had (some minutes the first time)
	$(call step,Examples)
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || \
		echo "without prometheus and promtool, examples/monitoring is tested in part: apt-get install prometheus (Debian) has both"
	go test -count=1 -v ./examples/ | grep --line-buffered -v -e '^=== '
	$(call step,Examples on a real Vault (about a minute))
	PATH="$(CURDIR)/$(dir $(CONSULTEMPLATE)):$$PATH" TERRAFORM_PROVIDER="$$(scripts/terraform-provider.sh)" APACHE="$$(scripts/apache.sh)" \
		$(RACE) -tags integration -count=1 -parallel 12 -run '^(TestExample|TestConsulTemplate)' -v ./integration/ | grep --line-buffered -v -e '^=== '
	@$(MAKE) --no-print-directory kubernetes

$(CONSULTEMPLATE):
	$(call step,Building consul-template (once))
	GOBIN=$(CURDIR)/$(dir $(CONSULTEMPLATE)) $(INSTALL) github.com/hashicorp/consul-template@v0.41.1

.PHONY: kubernetes
kubernetes: build vault $(AUTHKUBERNETES) ## Test the examples for Kubernetes on a real API server, with a real External Secrets Operator (20 minutes the first time; BIN_VSO=... for a Vault Secrets Operator)
	$(call step,A real Kubernetes API server and External Secrets Operator)
	@kubernetes=$$(scripts/kubernetes.sh); eso=$$(scripts/external-secrets.sh); \
	printf '\n==> Examples on Kubernetes (about three minutes)\n'; \
	BIN_KUBERNETES="$$kubernetes" BIN_ESO="$$eso" BIN_AUTH_KUBERNETES="$(CURDIR)/$(AUTHKUBERNETES)" BIN_VSO="$(abspath $(BIN_VSO))" \
		$(RACE) -tags integration -count=1 -timeout 20m -run '^TestKubernetes' -v ./integration/ 2>&1 | grep --line-buffered -v -e '^=== '

$(AUTHKUBERNETES):
	$(call step,Building Vault's Kubernetes auth method (once))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes@$(patsubst .cache/vault-plugin-auth-kubernetes-%/,%,$(dir $@))

.PHONY: docs
docs: ## Write docs/api.md anew, which is generated from the code
	$(call step,docs/api.md)
	go test -count=1 -run '^TestAPIDocument$$' . -update

.PHONY: vault
vault: ## Find a real Vault, or build one: VAULT_BIN, then PATH, then .cache
	$(call step,A real Vault)
	@scripts/vault.sh

.PHONY: lint
lint: $(LINT) $(GOVULNCHECK) ## Run golangci-lint, and govulncheck where its database can be had
	$(call step,Linters)
	$(LINT) run ./...
	cd bench && $(CURDIR)/$(LINT) run ./...
	@GOVULNCHECK=$(GOVULNCHECK) VULNDB=$(VULNDB) scripts/vulnerabilities.sh -if-reachable

VULNDB ?= https://vuln.go.dev
.PHONY: vulnerabilities
vulnerabilities: $(GOVULNCHECK) ## Look for known vulnerabilities that the code can reach (VULNDB=file:///... for a copy of the database)
	$(call step,Known vulnerabilities)
	@GOVULNCHECK=$(GOVULNCHECK) VULNDB=$(VULNDB) scripts/vulnerabilities.sh

$(GOVULNCHECK):
	$(call step,Building govulncheck (once))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) golang.org/x/vuln/cmd/govulncheck@$(patsubst .cache/govulncheck-%/,%,$(dir $@))

.PHONY: licences
licences: $(LICENCES) ## Check the licences of what is linked into the programs, and collect them into bin/THIRD_PARTY_LICENSES.txt
	$(call step,Licences of the modules that are linked into the plugin and the login proxy)
	@LICENCES=$(LICENCES) scripts/licences/collect.sh bin/THIRD_PARTY_LICENSES.txt ./cmd/$(PLUGIN) ./cmd/$(PROXY)

$(LICENCES):
	$(call step,Building go-licence-detector (once))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) go.elastic.co/go-licence-detector@$(patsubst .cache/go-licence-detector-%/,%,$(dir $@))

$(LINT):
	$(call step,Building golangci-lint (once: some minutes))
	GOBIN=$(CURDIR)/$(dir $(LINT)) $(INSTALL) $(LINTFROM)

.PHONY: snapshot
snapshot: $(GORELEASER) $(SYFT) ## Build what a release consists of into bin/release, for all platforms
	$(call step,Building a release of $(VERSION) with $(RELEASE_GO): six platforms and their SBOMs (the first time some minutes))
	PATH="$(CURDIR)/$(dir $(SYFT)):$$PATH" GOTOOLCHAIN=$(RELEASE_GO) VERSION=$(VERSION) $(GORELEASER) release --snapshot --clean --skip=sign
	$(call step,Making images of it in bin/image and bin/image-$(PROXY): OCI layouts)
	$(call IMAGE,$(PLUGIN),bin/image)
	$(call IMAGE,$(PROXY),bin/image-$(PROXY))

# The digest of a program's image, which is made of bin/release.
IMAGE = rm -rf $(2) && go -C scripts/image build -o $(CURDIR)/bin/make-image . && bin/make-image build $(1) bin/release $(2)

PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
.PHONY: release-check
release-check: $(GORELEASER) $(ACTIONLINT) lint-release snapshot vault ## Check a release: its configuration, workflows and files, and that it can be built again to the byte (PLATFORMS=linux/amd64 for one)
	$(call step,Registering it with a real Vault and building it again with empty caches (some minutes for each platform))
	go -C scripts/image test -tags release -count=1 -timeout 30m -v . | grep -v '^=== '
	GOTOOLCHAIN=$(RELEASE_GO) PLATFORMS="$(PLATFORMS)" go test -tags release -count=1 -timeout 0 -run TestRelease -v ./scripts/release/
	$(call step,The release is as it should be)

.PHONY: lint-release
lint-release: $(GORELEASER) $(ACTIONLINT) $(LINT)
	$(call step,Checking the configuration of the release and the workflows)
	$(LINT) run --build-tags release ./scripts/release/
	cd scripts/image && $(CURDIR)/$(LINT) run --build-tags release .
	$(GORELEASER) check
	$(ACTIONLINT) -version
	$(ACTIONLINT)
	$(ACTIONLINT) examples/github-actions/*.yml
	@command -v shellcheck >/dev/null || echo "shellcheck is not installed: the scripts are not checked"
	@! command -v shellcheck >/dev/null || { echo "shellcheck"; shellcheck scripts/*.sh scripts/*/*.sh; }

REGISTRY ?= ghcr.io
.PHONY: release
release: $(GORELEASER) $(SYFT) ## Publish the tag that is checked out as a draft on GitHub (the release workflow does this)
	$(call step,Releasing $(VERSION))
	@: "$${GITHUB_REPOSITORY:?is set in a workflow of GitHub: this is for the release workflow}"
	@command -v cosign >/dev/null || { echo "there is no cosign to sign the image with" >&2; exit 1; }
	GOTOOLCHAIN=$(RELEASE_GO) $(GORELEASER) build --clean # the image is of the same bytes, and the notes have its digest
	image="$(REGISTRY)/$${GITHUB_REPOSITORY,,}" && proxy="$$image/$(PROXY)" && \
	digest=$$($(call IMAGE,$(PLUGIN),bin/image)) && proxydigest=$$($(call IMAGE,$(PROXY),bin/image-$(PROXY))) && \
	scripts/release-notes.sh "$(VERSION)" "$$image@$$digest" "$$proxy@$$proxydigest" > bin/release-notes.md && \
	PATH="$(CURDIR)/$(dir $(SYFT)):$$PATH" GOTOOLCHAIN=$(RELEASE_GO) $(GORELEASER) release --clean --release-notes bin/release-notes.md && \
	bin/make-image push bin/image "$$image:$(VERSION)" "$$image:$(VERSION:v%=%)" && \
	bin/make-image push bin/image-$(PROXY) "$$proxy:$(VERSION)" "$$proxy:$(VERSION:v%=%)" && \
	cosign sign --yes "$$image@$$digest" && \
	cosign sign --yes "$$proxy@$$proxydigest"

$(GORELEASER):
	$(call step,Building goreleaser (once: some minutes))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) github.com/goreleaser/goreleaser/v2@$(patsubst .cache/goreleaser-%/,%,$(dir $@))

$(SYFT):
	$(call step,Building syft (once: some minutes))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) github.com/anchore/syft/cmd/syft@$(patsubst .cache/syft-%/,%,$(dir $@))

$(ACTIONLINT):
	$(call step,Building actionlint (once))
	GOBIN=$(CURDIR)/$(dir $@) $(INSTALL) github.com/rhysd/actionlint/cmd/actionlint@$(patsubst .cache/actionlint-%/,%,$(dir $@))

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt ./...

.PHONY: clean
clean: ## Remove what was built, but not the cached Vault
	rm -rf bin .bench

.PHONY: distclean
distclean: clean ## Remove the cached Vault and the tools, too
	rm -rf .cache
