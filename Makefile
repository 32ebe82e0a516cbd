# Everything that is done with Gibbon's sources. `make` alone lists it.

# A shell of its own for every command, so that the PATH below counts.
SHELL := /bin/bash
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
# A test that fails says what the viewer saw: the backtrace of its error would bury that.
export RUST_LIB_BACKTRACE ?= 0

CLIPS ?= media/bbb.mp4,media/bbb.vtt media/session.mp4 media/box.mp4
MINUTES ?= 10
SECONDS_EACH ?= 60
KILLS ?= 50
SEED ?= 1
SCENARIO ?= day
FAULTS ?= 2
# Development builds can be killed at a named step; release builds refuse the feature.
DEVELOPMENT := --workspace --features failpoints
# Tests turn on features of what all else is built on: built without them first, all of that would be built twice.
WITH_TESTS := --bins --tests

.PHONY: help demo test test-containers images performance foresight measure soak reliability chaos fuzz model clean
.DEFAULT_GOAL := help

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## Install what is missing, build, and watch a stream cross from edge to edge
	@scripts/setup
	cargo build $(DEVELOPMENT)
	target/debug/gibbon-testbed demo

test: ## Run every check and every test: what continuous integration runs
	@scripts/setup --test
	cargo fmt --all --check
	cargo clippy $(DEVELOPMENT) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	cargo build $(DEVELOPMENT) $(WITH_TESTS)
	cargo nextest run $(DEVELOPMENT)
	scripts/containers test $(DEVELOPMENT)
	scripts/containers check

test-containers: ## Stop, kill, cut off and replace edges in containers, under viewers
	@scripts/setup --test
	cargo build $(DEVELOPMENT)
	scripts/containers test $(DEVELOPMENT)

images: ## Build the image of each process out of the sources; GIBBON_TAG=latest
	scripts/containers images

performance: ## Measure what it costs, beside the yardstick, into target/performance; PAIRS=7
	@scripts/setup
	scripts/performance

foresight: ## Play a day of a million viewers under each hand-off policy, into target/foresight; SCENARIO=day
	@scripts/setup
	cargo build --release -p gibbon-load
	mkdir -p target/foresight
	target/release/gibbon-load sim $(SCENARIO) \
		--json target/foresight/$(SCENARIO).json --html target/foresight/$(SCENARIO).html

measure: ## Measure what each coding scheme costs in bit rate; CLIPS="…"
	@scripts/setup
	cargo run --release -p gibbon-origin -- measure $(CLIPS)

soak: ## 20 sessions with a hand-off every 5 s; MINUTES=10
	@scripts/setup
	cargo build $(DEVELOPMENT)
	target/debug/gibbon-testbed soak --folder target/soak --minutes $(MINUTES)

reliability: ## Kill edges under viewers and tell what these saw; KILLS=50
	@scripts/setup
	cargo build $(DEVELOPMENT)
	target/debug/gibbon-testbed reliability --folder target/reliability --kills $(KILLS)

chaos: ## Faults by a seed, and what must hold throughout; SEED=1 MINUTES=10
	@scripts/setup
	cargo build $(DEVELOPMENT)
	target/debug/gibbon-testbed chaos --folder target/chaos --seed $(SEED) --minutes $(MINUTES)

fuzz: ## Fuzz every parser; SECONDS_EACH=60; needs nightly Rust and cargo-fuzz
	@for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS_EACH) || exit 1; \
	done

model: ## Check the hand-off protocol exhaustively, beyond what the tests do; FAULTS=2
	@scripts/setup
	GIBBON_MODEL_FAULTS=$(FAULTS) cargo test -p gibbon-handoff --test model -- --ignored --nocapture

clean: ## Remove what was built, and the demo's output
	cargo clean
	rm -rf demo
