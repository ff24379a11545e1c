# What people type. Each target calls cargo or a script; the logic is there, not here.

.DEFAULT_GOAL := help
.PHONY: help build test clean

# What `forebay version` shows; empty outside a repository.
export FOREBAY_COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

build: ## the release binary, target/release/forebay
	scripts/install-build-deps.sh
	cargo build --release --locked --package forebay

test: ## install what the tests need, and run all checks and tests
	scripts/install-test-deps.sh
	cargo xtask verify

clean: ## remove build output
	cargo clean
