# What people type. Each target calls cargo or a script; the logic is there, not here.

.DEFAULT_GOAL := help
.PHONY: help build quickstart quickstart-stop quickstart-clean test soak bench install uninstall clean

# What `forebay version` shows; empty outside a repository.
export FOREBAY_COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)

# For how long `make soak` simulates.
SOAK_MINUTES ?= 10

# Where `make install` puts things.
export PREFIX ?= /usr/local
export DESTDIR ?=

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

build: ## the release binary, target/release/forebay
	scripts/install-build-deps.sh
	cargo build --release --locked --package forebay

quickstart: ## all of it on this machine: a real S3 server, a cluster, a mount, loaded and read
	scripts/quickstart.sh start

quickstart-stop: ## stop what quickstart started; data and cache stay
	scripts/quickstart.sh stop

quickstart-clean: ## stop it, and delete its data
	scripts/quickstart.sh clean

test: ## install what the tests need, and run all checks and tests
	scripts/install-test-deps.sh
	cargo xtask verify

soak: ## simulated clusters with fresh seeds for SOAK_MINUTES, trouble for real masters as long, and the long variants of other tests
	scripts/install-test-deps.sh
	cargo run --locked --release --package forebay-sim -- --minutes $(SOAK_MINUTES)
	cargo run --locked --release --package forebay-sim -- --minutes $(SOAK_MINUTES) --masters 3
	cargo build --locked --release --package forebay
	cargo xtask chaos --minutes $(SOAK_MINUTES)
	FOREBAY_TRUTH_OPERATIONS=10000 cargo test --locked --package forebay-integration-tests --test s3_truth_under_random_changes
	FOREBAY_READ_OPERATIONS=100000 cargo test --locked --package forebay-integration-tests --test reads_of_any_kind
	FOREBAY_TROUBLE_SECONDS=600 cargo test --locked --package forebay-integration-tests --test readers_among_troublemakers -- --nocapture
	FOREBAY_TROUBLE_SECONDS=120 cargo test --locked --package forebay-integration-tests --test partly_cached_files
	FOREBAY_LOOKUPS=5000000 cargo test --locked --package forebay-integration-tests --test memory_is_bounded names_that_the_kernel_forgot -- --nocapture

bench: ## speed beside the plain directory; docs/benchmarks.md says what is measured
	cargo xtask bench all

install: ## the binary, completions, the helper of mount(8) and systemd units: PREFIX=/usr/local DESTDIR=
	scripts/install.sh install

uninstall: ## take away what `make install` put there; configuration and state stay
	scripts/install.sh uninstall

clean: ## remove build output
	cargo clean
