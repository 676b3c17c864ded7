# The two commands of the README are `make demo` and `make test`.
GO ?= go
BIN := bin
TOOLS := $(BIN)/tools
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo development)

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
BUF := github.com/bufbuild/buf/cmd/buf@v1.75.0
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_VT := github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto@v0.6.0

.PHONY: demo build test race integration crash lint fmt generate bench bench-all fuzz clean

demo: build ## everything in one process, with a demo shop
	$(BIN)/sluice demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN)/sluice ./cmd/sluice

test: ## all tests, shuffled
	$(GO) vet ./...
	$(GO) test -shuffle=on -timeout 15m ./...

race:
	$(GO) test -race -short -timeout 20m ./...

integration: ## the tests on real engines: Apache Kafka, ClickHouse; installs what they need
	deploy/local/integration.sh

crash: build ## a hundred random faults on the embedded broker and on Apache Kafka, compared with an uninterrupted run
	$(GO) run ./systemtest crash --broker embedded --faults 100 --sluice $(BIN)/sluice
	$(GO) run ./systemtest crash --broker kafka --faults 100 --sluice $(BIN)/sluice

lint: $(TOOLS)/golangci-lint $(TOOLS)/gofumpt $(TOOLS)/staticcheck
	@unformatted=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); test -z "$$unformatted" || { echo "gofumpt would change:"; echo "$$unformatted"; exit 1; }
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/golangci-lint run

fmt: $(TOOLS)/gofumpt
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')

generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-vtproto ## protobuf code, which is committed
	PATH="$(CURDIR)/$(TOOLS):$$PATH" $(TOOLS)/buf generate

bench: build ## the quick set of the benchmarks, 15 minutes; results go to benchmarks/results and benchmarks/RESULTS.md
	$(GO) run ./benchmarks run --sluice $(BIN)/sluice --out benchmarks/results/bench.jsonl
	$(GO) run ./benchmarks table benchmarks/results/bench.jsonl >benchmarks/RESULTS.md

bench-all: build ## all benchmarks, five runs each: hours
	$(GO) run ./benchmarks run --all --runs 5 --sluice $(BIN)/sluice --out benchmarks/results/bench.jsonl
	$(GO) run ./benchmarks table benchmarks/results/bench.jsonl >benchmarks/RESULTS.md

fuzz:
	$(GO) test -fuzz=FuzzDecode -fuzztime=30s ./ingest

clean:
	rm -rf $(BIN)

$(TOOLS)/golangci-lint:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(GOLANGCI)
$(TOOLS)/gofumpt:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(GOFUMPT)
$(TOOLS)/staticcheck:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(STATICCHECK)
$(TOOLS)/buf:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(BUF)
$(TOOLS)/protoc-gen-go:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(PROTOC_GEN_GO)
$(TOOLS)/protoc-gen-go-vtproto:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(PROTOC_GEN_VT)
