# The verbs a developer has. Continuous integration calls these and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN      := bin
ORT      := $(BIN)/libonnxruntime.so.1
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/tftctl/tftctl/pkg/version.number=$(VERSION)
export GOFLAGS ?= -buildvcs=auto

.PHONY: help demo test check build lint bench image docs clean deps

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## the whole story on the local cloud: push, deploy, canary, promote, rollback
	@go build -o $(BIN)/demo ./examples/demo
	@$(BIN)/demo -bin $(BIN) -models examples/tft -result $(BIN)/demo.json

test: deps build ## all tests; installs what they need, or says what is missing
	go vet ./...
	go test -timeout 14m ./...

check: deps build lint ## what to run before a change is offered: format, vet, race, other platforms, docs
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "hint: gofmt -w"; exit 1; }
	go vet ./...
	go test -race -timeout 25m ./...
	for p in linux/arm64 darwin/arm64 darwin/amd64; do \
	  echo "build tftctl for $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/tftctl; done
	go run ./cmd/tftctl/gendocs -check docs/cli

build: $(ORT) ## build tftctl and tftserve into bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/tftctl ./cmd/tftctl
	CGO_ENABLED=1 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/tftserve ./cmd/tftserve

$(ORT): third_party/onnxruntime/fetch.sh third_party/onnxruntime/package.json third_party/onnxruntime/package-lock.json
	@command -v go >/dev/null || { echo "Go is missing: get 1.26 or later from https://go.dev/dl"; exit 1; }
	@mkdir -p $(BIN)
	third_party/onnxruntime/fetch.sh $(BIN)
	@touch $@

deps: # what the tests need besides Go
	@./.ci/deps

lint: $(BIN)/golangci-lint ## all linters of .golangci.yml
	$(BIN)/golangci-lint run ./...

# Compiled once with the pinned Go; it takes minutes.
$(BIN)/golangci-lint:
	GOBIN=$(abspath $(BIN)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

bench: build ## benchmarks of the hot path
	go test -run '^$$' -bench . -benchmem ./serve/...

image: ## build the container image of tftserve with docker, podman or buildah
	@./.ci/image

docs: ## write docs/cli from the commands
	go run ./cmd/tftctl/gendocs docs/cli

clean: ## remove what was built
	rm -rf $(BIN) dist
