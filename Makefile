# Everything a fresh machine needs: Rust, Python >= 3.10 with venv, make and a C compiler. The rest is made here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RELAY := target/debug/locust-cloudwatch-relay
RELAY_SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
FUZZ_SECONDS ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup demo cost test test-oldest check bench faults fuzz deny build deploy publish-hook clean

help: ## Say what each command does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make the Python environment in .venv from the pinned requirements

$(READY): requirements-dev.txt pyproject.toml locust_hook/recording/_fast.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(RELAY): $(RELAY_SOURCES)
	cargo build --locked
	@touch $@

demo: $(READY) $(RELAY) ## The main job on local AWS: a table and a dashboard (with OPEN=1 in the browser, live)
	$(BIN)/python -m examples.demo $(if $(filter-out 0,$(OPEN)),--open)

cost: $(READY) $(RELAY) ## Say what a test costs: RUN=s3://..., or REQUESTS=4000 ENDPOINTS=20 WORKERS=10 HOURS=2
	@$(BIN)/python -m cost $(if $(RUN),'$(RUN)') $(if $(REQUESTS),--requests $(REQUESTS)) \
		$(if $(ENDPOINTS),--endpoints $(ENDPOINTS)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(HOURS),--hours $(HOURS)) $(OPTIONS)

check: $(READY) ## Format, lint, types, docs
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --quiet
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check $(RELAY) ## Everything: check, the relay's tests, the Python tests, end to end
	cargo test --locked
	$(BIN)/pytest
	$(MAKE) test-oldest

test-oldest: $(READY) target/oldest/bin/python ## The hook with the oldest Locust and boto3 that it supports
	HOOK_TESTS_PYTHON=target/oldest/bin/python $(BIN)/pytest tests/hook/test_locust.py tests/hook/test_wrapper.py \
		tests/sidecar/test_locust.py

target/oldest/bin/python:
	$(PYTHON) -m venv target/oldest
	target/oldest/bin/pip install --quiet --disable-pip-version-check locust==2.32.0 boto3==1.36.0

bench: $(READY) target/bench/venv/bin/python ## Measure hook and relay, and simulate scale (docs/performance.md)
	$(BIN)/python -m benches.hook
	$(BIN)/python -m benches.relay
	$(BIN)/python -m benches.scale

target/bench/venv/bin/python: requirements-bench.txt
	$(PYTHON) -m venv target/bench/venv
	target/bench/venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

faults: $(READY) $(RELAY) ## Deliver under every fault; prints what came of each
	$(BIN)/pytest tests/faults

fuzz: $(READY) ## Fuzz the relay's pure stages, each for FUZZ_SECONDS (needs the nightly compiler)
	@cargo fuzz --version || cargo install --locked cargo-fuzz
	$(BIN)/python fuzz/seed.py
	for stage in notification batch plan; do \
		cargo +nightly fuzz run $$stage -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=512 || exit 1; \
	done

deny: ## Check the dependencies: licences, bans, sources; advisories need network
	@cargo deny --version || cargo install --locked cargo-deny
	cargo deny --locked check

build: $(READY) ## Build the function as `sam deploy` uploads it (.aws-sam/build)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build

deploy: build ## Deploy to your AWS account, with questions
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam deploy --guided

publish-hook: $(READY) ## Put hook, Locust and a test (TEST=folder) into the relay's bucket, for load generators
	$(BIN)/python -m examples.publish_hook \
		$(if $(STACK),--stack $(STACK)) $(if $(BUCKET),--bucket $(BUCKET)) $(if $(TEST),--test $(TEST))

clean: ## Delete what the other commands made
	rm -rf target fuzz/target .aws-sam $(VENV)
