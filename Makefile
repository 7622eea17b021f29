# make alone lists the targets.

GO ?= go
TESTFLAGS ?=
BENCHFLAGS ?=
CORPUSFLAGS ?=
export GO

ifndef VERSION
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
endif

module := github.com/kwatchman/kwatchman
ldflags := -s -w -X $(module)/serve.Version=$(VERSION) -X $(module)/watcher.Version=$(VERSION)
gobuild := CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags "$(ldflags)"
lint := $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint

# A new function is found by its folder.
functions := $(patsubst functions/%/cmd/main.go,bin/%,$(wildcard functions/*/cmd/main.go))
binaries := $(functions) $(if $(wildcard watcher/cmd/main.go),bin/watcher) $(if $(wildcard main.go),bin/kwatchman)

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: $(binaries) ## build the binaries of the watcher and the functions in bin/

# Go knows best what is up to date, so every binary is phony.
.PHONY: $(binaries) bin/cluster bin/demo bin/bench bin/bench-informer
$(functions): bin/%:
	$(gobuild) -o $@ ./functions/$*/cmd
bin/watcher:
	$(gobuild) -o $@ ./watcher/cmd
bin/kwatchman:
	$(gobuild) -o $@ .
bin/demo:
	@$(gobuild) -o $@ ./test/demo
bin/bench:
	@$(gobuild) -o $@ ./test/bench
bin/bench-informer:
	@$(gobuild) -o $@ ./test/bench/informer
bin/cluster:
	@cd test/cluster && CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o $(CURDIR)/bin/cluster ./cmd/cluster

# The race detector allocates for itself, so allocations are counted without it.
allocs := ./event ./functions/diff ./watcher/object ./watcher/state ./watcher/chain

# What controllers and kubectl write is tested on a control plane that has them.
.PHONY: test
test: build bin/cluster bin/helm ## run all tests, with the race detector, on a real API server (13 minutes; builds one the first time: 8 more)
	bin/cluster build --controller-manager --kubectl >/dev/null
	KWATCHMAN_TEST_HELM=$(CURDIR)/bin/helm KWATCHMAN_CLUSTER=$(CURDIR)/bin/cluster bin/cluster run -- $(GO) test -race -timeout 20m $(TESTFLAGS) ./...
	bin/cluster run --controller-manager --kubectl -- $(GO) test -race -run '^TestWho' $(TESTFLAGS) ./test/e2e
	KWATCHMAN_TEST_HELM=$(CURDIR)/bin/helm bin/cluster run --kubectl -- $(GO) test -race $(TESTFLAGS) ./test/deploy
	$(GO) test -run '^TestFewAllocations' $(allocs)
	cd test/cluster && $(GO) test $(TESTFLAGS) ./cmd/cluster

# What breaks the API server has one of its own.
faults = KWATCHMAN_FAULTS=$(1) KWATCHMAN_CLUSTER=$(CURDIR)/bin/cluster bin/cluster run -- \
	$(GO) test -race -v -count=1 -timeout $(2) -run '^TestFault' $(TESTFLAGS) ./test/e2e

# Side by side, for the burst mostly waits: a message a second.
.PHONY: test-faults break-things burst
test-faults: bin/cluster ## break things on a real API server and count what arrives (16 minutes)
	@$(MAKE) --no-print-directory -j2 break-things burst
	@$(MAKE) --no-print-directory model
break-things: bin/cluster
	$(call faults,short,60m)
burst: bin/cluster
	KWATCHMAN_BURST=500 bin/cluster run -- $(GO) test -race -v -count=1 -timeout 40m -run '^TestBurst' $(TESTFLAGS) ./test/e2e

# MODEL_TIME is that of all set-ups together, without the waits for what must come;
# MODEL_SEED chooses the seed, MODEL_SEEDS is how many run one after the other, MODEL_SETUP
# takes the set-ups whose name contains it.
MODEL_TIME ?= 3m
MODEL_SEEDS ?= 1
.PHONY: model
model: bin/cluster ## break things at random and judge what arrives by etcd's history (4 minutes; MODEL_TIME=30m MODEL_SEED=1 MODEL_SEEDS=10)
	KWATCHMAN_MODEL=$(MODEL_TIME) KWATCHMAN_MODEL_SEED=$(MODEL_SEED) KWATCHMAN_MODEL_SEEDS=$(MODEL_SEEDS) \
		KWATCHMAN_MODEL_SETUP='$(MODEL_SETUP)' KWATCHMAN_CLUSTER=$(CURDIR)/bin/cluster bin/cluster run -- \
		$(GO) test -race -v -count=1 -timeout 24h -run '^TestModel' $(TESTFLAGS) ./test/model

# ROUNDS is how often the leader is taken away in each of three ways: ten times are ten minutes.
ROUNDS ?= 10
.PHONY: soak test-faults-long
soak: bin/cluster ## take the leader of three watchers away for ten minutes, and draw what they take in docs/soak.svg
	KWATCHMAN_SOAK=$(ROUNDS) KWATCHMAN_SOAK_PLOT=$(CURDIR)/docs/soak.svg bin/cluster run -- \
		$(GO) test -race -v -count=1 -timeout 60m -run '^TestSoak' $(TESTFLAGS) ./test/e2e
test-faults-long: bin/cluster ## test-faults for hours
	$(call faults,long,24h)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (1000x inputs; or 30s), one after the other
	test/fuzz.sh

.PHONY: fuzz-corpus
fuzz-corpus: fuzz ## fuzz, and keep a selection of what is interesting in testdata/fuzz (FUZZTIME=30s: 15 minutes)
	test/fuzz.sh keep

.PHONY: test-unit
test-unit: ## run the tests that need no API server
	env -u KWATCHMAN_TEST_KUBECONFIG $(GO) test $(TESTFLAGS) ./...
	cd test/cluster && $(GO) test -short $(TESTFLAGS) ./cmd/cluster

# Of test/cluster only the launcher: the other commands are two imports each,
# and to check them is to compile Kubernetes once more.
.PHONY: lint
lint: bin/helm bin/helm-docs ## check the code, its format, the walls between the parts, go.mod and the rendered manifests
	$(lint) run ./...
	cd test/cluster && $(lint) run ./cmd/cluster && $(lint) fmt --diff ./cmd ./kubectl ./node ./coredns
	$(GO) vet ./...
	$(GO) mod tidy -diff
	tools/walls.sh
	deploy/manifests.sh --check

# The database of vulnerabilities is on the network; what it finds is for people to judge.
.PHONY: vulncheck
vulncheck: ## look for known vulnerabilities, if the database is in reach
	@found=$$($(GO) tool -modfile=tools/vuln/go.mod govulncheck ./... 2>&1); case $$? in \
		0|3) echo "$$found" ;; *) echo "not checked: $$(echo "$$found" | tail -n 1)" ;; esac

.PHONY: fmt
fmt: ## format the code
	$(lint) fmt
	cd test/cluster && $(lint) fmt ./cmd ./kubectl ./node ./coredns

.PHONY: cluster
cluster: bin/cluster ## start a Kubernetes control plane that keeps running, and print how to reach it
	@bin/cluster start

.PHONY: cluster-stop
cluster-stop: bin/cluster ## end it and remove its data
	@bin/cluster stop

.PHONY: demo
demo: build bin/cluster bin/demo ## show changes on their way; with KUBECONFIG set: those of that cluster
	@if [ -n "$$KUBECONFIG" ]; then bin/demo; \
	else bin/cluster run --kubeconfig-env KUBECONFIG -- bin/demo --change; fi

.PHONY: corpus
corpus: bin/watcher bin/cluster ## record anew what diff is tested with, on a real API server (8 minutes; CORPUSFLAGS=-run=name: a part)
	bin/cluster run --controller-manager --kubectl -- $(GO) run ./test/corpus $(CORPUSFLAGS)

.PHONY: bench
bench: build bin/cluster bin/bench bin/bench-informer ## measure kwatchman beside a plain informer (16 minutes; BENCHFLAGS=--short: 2)
	bin/cluster run -- bin/bench $(BENCHFLAGS)

# With DOCKER=podman, or any that takes the same words, and REGISTRY=where.
DOCKER ?= docker
REGISTRY ?= ghcr.io/kwatchman
IMAGEFLAGS ?=
export DOCKER REGISTRY VERSION
imagebuild = DOCKER_BUILDKIT=1 $(DOCKER) build $(IMAGEFLAGS) \
	$(if $(GO_IMAGE),--build-arg GO_IMAGE=$(GO_IMAGE)) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	$(if $(GOPROXY),--build-arg GOPROXY=$(GOPROXY)) --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null)
function_images := $(patsubst bin/%,image-%,$(functions))

.PHONY: images image-watcher image-kwatchman $(function_images)
images: image-watcher image-kwatchman $(function_images) ## build the images (DOCKER=, REGISTRY=, GO_IMAGE=, BASE_IMAGE=)
image-watcher image-kwatchman: image-%:
	$(imagebuild) -f Dockerfile.watcher --target $* -t $(REGISTRY)/$*:$(VERSION) .
$(function_images): image-%:
	$(imagebuild) -f Dockerfile.function --build-arg FUNCTION=$* -t $(REGISTRY)/$*:$(VERSION) .

# Docker, and what the images are made of, are found by the script; where they cannot be, it says so.
.PHONY: test-images run-images
test-images: bin/cluster ## build the images and run them as containers (4 minutes)
	@bin/cluster build >/dev/null
	@test/images/with-docker.sh $(MAKE) --no-print-directory run-images VERSION=v0.0.0-test REGISTRY=kwatchman.test IMAGEFLAGS=--network=host
run-images: images build
	KWATCHMAN_TEST_DOCKER=$$(command -v $(DOCKER)) bin/cluster run -- $(GO) test -count=1 -v $(TESTFLAGS) ./test/images

# On a node of its own: root, and Debian's containerd, runc, containernetworking-plugins, iptables and conntrack.
.PHONY: test-node run-node
test-node: bin/cluster bin/helm ## install the chart as real Pods on a real node and break them (root; 10 minutes)
	@test/images/with-docker.sh $(MAKE) --no-print-directory run-node VERSION=v0.0.0-test REGISTRY=kwatchman.test IMAGEFLAGS=--network=host
node_images = $(foreach tag,v0.0.0-test v0.0.1-test,$(foreach name,watcher diff log,kwatchman.test/$(name):$(tag)))
run-node: image-watcher image-diff image-log
	for name in watcher diff log; do $(DOCKER) tag kwatchman.test/$$name:v0.0.0-test kwatchman.test/$$name:v0.0.1-test; done
	$(DOCKER) save -o bin/node-images.tar $(node_images)
	$(GO) test -c -o bin/node.test ./test/node
	cd test/node && KWATCHMAN_TEST_IMAGES=$(CURDIR)/bin/node-images.tar KWATCHMAN_TEST_HELM=$(CURDIR)/bin/helm \
		$(CURDIR)/bin/cluster run --node --kubectl -- $(CURDIR)/bin/node.test -test.v -test.timeout=30m

# What finds Prometheus' targets in clouds is left out: it is most of a quarter of an hour.
.PHONY: bin/promtool test-rules
bin/promtool:
	@cd tools/promtool && CGO_ENABLED=0 $(GO) build -buildvcs=false -tags remove_all_sd -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ github.com/prometheus/prometheus/cmd/promtool
test-rules: bin/promtool ## test the alerts with promtool (the first run builds it: 5 minutes)
	bin/promtool check rules deploy/monitoring/rules.yaml
	bin/promtool test rules deploy/monitoring/rules_test.yaml

# Helm and what writes the chart's README have requirements of their own.
.PHONY: bin/helm bin/helm-docs
bin/helm:
	@cd tools/helm && CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm
bin/helm-docs:
	@cd tools/helm && CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ github.com/norwoodj/helm-docs/cmd/helm-docs

.PHONY: manifests
manifests: bin/helm bin/helm-docs ## render deploy/plain, deploy/knative and the chart's README from the chart
	deploy/manifests.sh

.PHONY: panels
panels: build bin/cluster ## draw docs/operate.svg, panels of the dashboard, from a real run (2 minutes)
	bin/cluster run -- $(GO) run ./test/panels

.PHONY: clean
clean: ## remove bin/
	rm -rf bin
