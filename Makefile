# Everything a newcomer needs; `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The official MCP clients, which the tests let speak to the gate.
MCP_PYTHON := 2.3.0
MCP_PYTHON_1 := 1.30.0
MCP_PYTHON_OLDEST := 1.8.1
FASTMCP := 4.2.3
LANGCHAIN_MCP := 0.3.2
MCP_NODE := 2.4.0
MCP_NODE_1 := 1.32.2
MCP_INSPECTOR := 2.12.0
# The official suite that judges servers, and the Node for it where the machine's is older than 22.
MCP_CONFORMANCE := 0.2.0-alpha.12
NODE := 22.23.3

# Clients of Vault's, which speak to the gate as they are; that of Go has its versions in its module.
HVAC := 2.4.0
NODE_VAULT := 0.12.0
CONSUL_TEMPLATE := 0.41.1

# AWS KMS on loopback, and what reads an OpenAPI document, and calls an API by it.
MOTO := 5.2.5
OPENAPI_VALIDATOR := 0.9.0
SCHEMATHESIS := 4.32.5

# An OpenTelemetry collector of these parts; all of one release.
OTELCOL := 0.161.0
define otelcol_parts
dist: {name: otelcol, module: otelcol, output_path: target/otelcol}
receivers: [{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$(OTELCOL)}]
exporters: [{gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v$(OTELCOL)}]
endef

# A stamp's name holds the version, so that a new version is installed over the old one.
python_client := target/venv/.mcp-$(MCP_PYTHON)
python_client_1 := target/venvs/mcp-1/.mcp-$(MCP_PYTHON_1)
python_client_oldest := target/venvs/mcp-oldest/.mcp-$(MCP_PYTHON_OLDEST)
fastmcp := target/venvs/fastmcp/.fastmcp-$(FASTMCP)
langchain := target/venvs/mcp-1/.langchain-$(LANGCHAIN_MCP)
node_client := target/node/.client-$(MCP_NODE)
node_client_1 := target/node/.sdk-$(MCP_NODE_1)
inspector := target/node/.inspector-$(MCP_INSPECTOR)
conformance := target/node/.conformance-$(MCP_CONFORMANCE)
hvac := target/venv/.hvac-$(HVAC)
node_vault := target/node/.vault-$(NODE_VAULT)
go_vault := target/vault-clients/go
rust_vault := target/debug/vault-rs
consul_template := target/vault-clients/.consul-template-$(CONSUL_TEMPLATE)
spring := target/vault-clients/spring/.built
moto := target/venv/.moto-$(MOTO)
schemathesis := target/venv/.schemathesis-$(SCHEMATHESIS)
openapi_validator := target/venv/.openapi_spec_validator-$(OPENAPI_VALIDATOR)
otelcol := target/otelcol/.otelcol-$(OTELCOL)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run OpenBao or, with BACKEND=vault, Vault, and the gate, until Ctrl-C (AGENTS=a,b PORT= TLS_PORT= ADMIN_PORT=)
	@echo "building the gate, certs and local-vault; the first time takes some minutes"
	cargo build -p portcullis -p certs -p local-vault
	@exec target/debug/dev

# Tests of what comes before Vault is asked, and of what asks none: they run once.
SAME_ON_BOTH := agents:: audit:: audit_collector:: audit_disk:: balancers:: certificates:: clients:: conditions:: configuration:: conformance:: docs:: documents:: \
  dpop:: event_streams:: events:: files:: floods:: http:: issuers:: jwt:: kms:: layout:: limits:: logs:: metrics:: \
  notices:: pem:: preflight:: reference:: schemas:: schemathesis:: sessions:: sight:: stdio:: suggestions:: top:: traces:: trust_domains:: wire::

# They wait for servers most of the time.
test: export RUST_TEST_THREADS ?= $(shell echo $$(($$(nproc) * 3 / 2)))

.PHONY: test
test: backends clients servers ## Run every test, real servers included: on OpenBao, then on Vault
	BACKEND=openbao cargo test --workspace
	BACKEND=vault cargo test --workspace --test gate -- $(addprefix --skip ,$(SAME_ON_BOTH))

.PHONY: traces
traces: backend $(otelcol) ## Run the tests of traces and of the audit by OTLP, with an OpenTelemetry collector
	cargo test --workspace --test gate -- traces::
	cargo test --workspace --test gate -- audit_collector::

.PHONY: vault-clients
vault-clients: backend clients $(consul_template) $(spring) ## Run consul-template and Spring Vault through the gate: slow to fetch
	cargo test --workspace --test gate -- --ignored slow_vault_clients::

.PHONY: interleavings
interleavings: ## Try the orders in which threads of the bus of events may run
	cargo test --workspace --lib --features portcullis/shuttle -- events::interleavings

.PHONY: bench
bench: backend nginx ## Measure; one scenario with ONLY=mcp-kv-read
	cargo build --release -p portcullis -p bench
	target/release/bench

.PHONY: docs
docs: ## Write docs/reference/ from the code
	BLESS=1 cargo test --workspace --test gate -- reference::

SECONDS_EACH ?= 10
parsers := $(basename $(notdir $(wildcard fuzz/targets/*.rs)))

# `--workspace` has their dependencies built with the features that the tests have them with: once.
.PHONY: fuzz
fuzz: ## Fuzz each parser for SECONDS_EACH=10
	CARGO_INCREMENTAL=0 RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/cover \
	  cargo build --workspace $(addprefix --bin ,$(parsers))
	for name in $(parsers); do \
	  log=target/fuzz/$$name.log; mkdir -p target/fuzz/corpus/$$name; \
	  seeds=fuzz/seeds/$$name; [ -d $$seeds ] || seeds=; \
	  target/debug/$$name -max_total_time=$(SECONDS_EACH) -print_final_stats=1 \
	    -artifact_prefix=target/fuzz/$$name- target/fuzz/corpus/$$name $$seeds >$$log 2>&1 || { tail -40 $$log; exit 1; }; \
	  echo "$$name: $$(sed -n 's/^stat::number_of_executed_units: *//p' $$log) inputs in $(SECONDS_EACH) s"; \
	done

.PHONY: check
check: ## Check format, lints and dependencies
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny check licenses bans sources

.PHONY: clean-dev
clean-dev: ## Remove development certificates and logs
	rm -rf .dev logs

.PHONY: backend
backend: # Find what BACKEND names, or install or build it
	cargo build -p local-vault
	target/debug/dev --fetch-only

.PHONY: backends
backends: # Both, whatever BACKEND names
	cargo build -p local-vault
	BACKEND=openbao target/debug/dev --fetch-only
	BACKEND=vault target/debug/dev --fetch-only

.PHONY: clients
clients: $(python_client) $(langchain) $(python_client_oldest) $(fastmcp) $(hvac) $(node_vault) $(go_vault) $(rust_vault)

%/bin/python:
	@python3 -m venv $*

# into_venv REQUIREMENT...: installs them, and sets the target's stamp in place of the one before.
define into_venv
@echo "installing $(1) (Python) into $(@D)"
@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(1)
@rm -f $(@D)/$(firstword $(subst -, ,$(@F)))-*
@touch $@
endef

# One after the other with `make -j` too: they share a folder.
$(python_client): | target/venv/bin/python
	$(call into_venv,mcp==$(MCP_PYTHON))

# Versions that cannot be together have environments of their own. The oldest does not start with a newer pydantic.
$(python_client_1): | target/venvs/mcp-1/bin/python
	$(call into_venv,mcp==$(MCP_PYTHON_1))

$(langchain): | $(python_client_1)
	$(call into_venv,langchain-mcp-adapters==$(LANGCHAIN_MCP))

$(fastmcp): | target/venvs/fastmcp/bin/python
	$(call into_venv,'fastmcp-slim[client]==$(FASTMCP)')

$(python_client_oldest): | target/venvs/mcp-oldest/bin/python
	$(call into_venv,mcp==$(MCP_PYTHON_OLDEST) 'pydantic<2.12')

$(hvac): | $(python_client)
	$(call into_venv,hvac==$(HVAC))

$(moto): | $(hvac)
	$(call into_venv,'moto[server]==$(MOTO)')

$(schemathesis): | $(moto)
	$(call into_venv,schemathesis==$(SCHEMATHESIS))

$(openapi_validator): | $(schemathesis)
	$(call into_venv,openapi-spec-validator==$(OPENAPI_VALIDATOR))

# into_node PACKAGE [PACKAGE...]: the same with npm.
define into_node
@echo "installing $(1) (npm) into target/node"
@mkdir -p target/node
@npm install --prefix target/node --silent --no-audit --no-fund --save-exact $(1)
@rm -f $(@D)/$(firstword $(subst -, ,$(@F)))-*
@touch $@
endef

# One after the other, as above.
$(node_client_1):
	$(call into_node,@modelcontextprotocol/sdk@$(MCP_NODE_1))

$(node_client): | $(node_client_1)
	$(call into_node,@modelcontextprotocol/client@$(MCP_NODE))

$(inspector): | $(node_client)
	$(call into_node,@modelcontextprotocol/inspector@$(MCP_INSPECTOR))

$(conformance): | $(inspector)
	$(call into_node,@modelcontextprotocol/conformance@$(MCP_CONFORMANCE) \
	  $$(node -p 'require("fs").globSync ? "" : "node@$(NODE)"'))

$(otelcol): export parts = $(otelcol_parts)
$(otelcol):
	@echo "building an OpenTelemetry collector (Go) in target/otelcol; the first time takes two minutes"
	@mkdir -p target/otelcol
	@echo "$$parts" >target/otelcol/parts.yaml
	@go run go.opentelemetry.io/collector/cmd/builder@v$(OTELCOL) --config target/otelcol/parts.yaml >target/otelcol/log 2>&1 \
	  || { tail -20 target/otelcol/log; exit 1; }
	@rm -f $(@D)/.otelcol-*
	@touch $@

$(node_vault): | $(conformance)
	$(call into_node,node-vault@$(NODE_VAULT))

$(go_vault): tests/clients/vault-go/main.go tests/clients/vault-go/go.mod tests/clients/vault-go/go.sum
	@echo "building $@ (Go)"
	@GOFLAGS=-mod=readonly go build -C $(<D) -o $(CURDIR)/$@ .

$(rust_vault): $(addprefix tests/clients/vault-rs/,src/main.rs Cargo.toml Cargo.lock)
	@echo "building $@ (Rust)"
	@cargo build --quiet --locked --manifest-path $(filter %.toml,$^) --target-dir target
	@touch $@

$(consul_template):
	@echo "installing consul-template $(CONSUL_TEMPLATE) (Go) into $(@D)"
	@GOBIN=$(CURDIR)/$(@D) go install github.com/hashicorp/consul-template@v$(CONSUL_TEMPLATE)
	@rm -f $(@D)/.consul-template-*
	@touch $@

$(spring): $(wildcard tests/clients/spring-vault/src/main/java/*.java) tests/clients/spring-vault/pom.xml
	@echo "building a client with Spring Vault (Maven) into $(@D)"
	@mvn --quiet --batch-mode --file tests/clients/spring-vault/pom.xml -Dbuilt=$(CURDIR)/$(@D) compile
	@touch $@

# Without a terminal, without starting what it installs, and without a database cluster of the
# machine's own.
.PHONY: servers
servers: $(moto) $(schemathesis) $(openapi_validator) $(otelcol) # What the tests put in front of the gate and behind it
	@has() { command -v "$$1" >/dev/null || compgen -G "$$2" >/dev/null; }; missing=(); \
	has postgres '/usr/lib/postgresql/*/bin/postgres' || missing+=(postgresql); \
	has psql /usr/bin/psql || missing+=(postgresql-client); \
	has sshd /usr/sbin/sshd || missing+=(openssh-server); \
	has redis-server /usr/bin/redis-server || missing+=(redis-server); \
	has haproxy /usr/sbin/haproxy || missing+=(haproxy); \
	has ssh /usr/bin/ssh || missing+=(openssh-client); \
	has prometheus /usr/bin/prometheus || missing+=(prometheus); \
	[ $${#missing[@]} = 0 ] && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing $${missing[*]}"; \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then \
	    trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
	    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; \
	  fi; \
	  mkdir -p /etc/postgresql-common/createcluster.d; \
	  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/portcullis.conf; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}"; \
	else echo "install $${missing[*]}: the tests need them" >&2; exit 1; fi

.PHONY: nginx
nginx: # One of the bench's baselines
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing nginx"; apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light; \
	  else echo "nginx is not installed: the bench leaves its baseline out"; fi; }
