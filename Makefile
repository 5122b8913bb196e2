# Weir: what a person or a machine does with this repository. `make help` lists it.

# Settings that must be the same for everything, so that nothing is built twice.
CARGO ?= cargo
DATA ?= weir-data
CAPTURES ?= pcaps
BENCH ?=

.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: ## install what the build needs, as far as this account may
	@packaging/setup build

run: setup ## play the bundled captures all the way, and print what they hold
	@$(CARGO) build $$(packaging/features) -p weir-meter -p weir
	@"$$(packaging/target-dir)/debug/weir" demo --data "$(DATA)" $(CAPTURES)

test: ## the whole suite
	@packaging/setup test
	$(CARGO) build $$(packaging/features) --workspace
	$(CARGO) test $$(packaging/features) --workspace
	cd fuzz && CARGO_TARGET_DIR="$$(../packaging/target-dir)" $(CARGO) test

bench: ## weir-meter beside its peers, on traces from seeds: BENCH='--traces u1m,mix --rounds 3' for less (docs/benchmark.md)
	@packaging/setup bench
	$(CARGO) build --release $$(packaging/features) -p weir-meter -p weir-bench
	"$$(packaging/target-dir)/release/weir-bench" compare --json bench.json --svg bench.svg $(BENCH)

fmt: ## format everything, also what is declared by macro
	rustfmt --edition 2024 $$(git ls-files -co --exclude-standard '*.rs')

check: ## formatting, lints and documentation
	rustfmt --edition 2024 --check $$(git ls-files -co --exclude-standard '*.rs')
	$(CARGO) clippy $$(packaging/features) --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p weir-meter --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $$(packaging/features) --workspace --no-deps --document-private-items

ci: check test ## what runs on every push
	"$$(packaging/target-dir)/debug/weir-bench" meter --smoke
	"$$(packaging/target-dir)/debug/weir-bench" parsers --runs 1 pcaps/*/*.pcap
	"$$(packaging/target-dir)/debug/weir-bench" compare --quick

clean-data: ## remove the store that `make run` leaves behind
	rm -rf "$(DATA)"

.PHONY: help setup run test bench fmt check ci clean-data
