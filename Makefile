# Everything a newcomer needs; `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The official MCP clients, which the tests let speak to the gate.
MCP_PYTHON := 2.3.0
MCP_NODE := 1.32.2

# A stamp's name holds the version, so that a new version is installed over the old one.
python_client := target/venv/.mcp-$(MCP_PYTHON)
node_client := target/node/.sdk-$(MCP_NODE)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run a real Vault and the gate, until Ctrl-C (AGENTS=a,b PORT= TLS_PORT= ADMIN_PORT=)
	@echo "building the gate, certs and local-vault; the first time takes some minutes"
	cargo build -p portcullis -p certs -p local-vault
	@exec target/debug/dev

.PHONY: test
test: vault clients ## Run every test, real servers included
	cargo test --workspace

.PHONY: bench
bench: vault nginx ## Measure; one scenario with ONLY=mcp-kv-read
	cargo build --release -p portcullis -p bench
	target/release/bench

.PHONY: check
check: ## Check format, lints and dependencies
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo deny check licenses bans sources

.PHONY: clean-dev
clean-dev: ## Remove development certificates and logs
	rm -rf .dev logs

.PHONY: vault
vault: # Find a Vault, or build one
	cargo build -p local-vault
	target/debug/dev --build-only

.PHONY: clients
clients: $(python_client) $(node_client)

$(python_client):
	@echo "installing mcp $(MCP_PYTHON) (Python) into target/venv"
	python3 -m venv target/venv
	target/venv/bin/pip install --quiet --disable-pip-version-check mcp==$(MCP_PYTHON)
	@rm -f target/venv/.mcp-*
	@touch $@

$(node_client):
	@echo "installing @modelcontextprotocol/sdk $(MCP_NODE) (npm) into target/node"
	mkdir -p target/node
	npm install --prefix target/node --silent --no-audit --no-fund --save-exact @modelcontextprotocol/sdk@$(MCP_NODE)
	@rm -f target/node/.sdk-*
	@touch $@

.PHONY: nginx
nginx: # One of the bench's baselines
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing nginx"; apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light; \
	  else echo "nginx is not installed: the bench leaves its baseline out"; fi; }
