# SPDX-License-Identifier: Apache-2.0
# `make demo` shows the system, `make test` proves it. Both set up what they need; both want root for the lab.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV := .tools/bin/uv
BIN := .venv/bin
DEMO_LAB ?= demo
MINUTES ?= 10
CAMPAIGNS ?= 5
PYTEST := $(BIN)/pytest -q
# Half of them wait for processes and clocks.
WORKERS := $(shell echo $$((2 * $$(nproc))))
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$(PATH)
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
# Hundreds of short processes: without compiled modules each takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

say = @printf '\n[%(%H:%M:%S)T] == %s\n' -1
retry = for try in 1 2 3; do $(1) && break; [ $$try = 3 ] && exit 1; echo "once more in 5 s: $(1)"; sleep 5; done

.PHONY: help setup host venv lint types audit unit simulation model model-deep netns api system lab-tests molecule test demo plant down docs fuzz soak chaos chaos-many bench bench-short wheel openapi clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# -- what everything needs ---------------------------------------------------------------------------------

setup: venv host ## the locked Python environment, the host's packages, the lab's base tree

$(UV):
	$(say) 'uv'
	python3 -m venv .tools 2>/dev/null || { rm -rf .tools; apt-get update -q && apt-get install -yq python3-venv; python3 -m venv .tools; }
	@$(call retry,.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9')

venv: $(UV)
	$(say) 'the locked environment'
	@$(UV) python find --quiet '>=3.11' >/dev/null || { echo "No Python 3.11 or newer is on PATH, and none is fetched" \
	  "from elsewhere: install it (Debian 12 or newer, Ubuntu 24.04 or newer: apt install python3 python3-venv)" >&2; exit 1; }
	@$(call retry,$(UV) sync --quiet --frozen)

host: venv
	$(say) 'the lab: host packages, base tree (once)'
	python3 -m lab setup
	python3 -m lab image

# -- the parts of the test -----------------------------------------------------------------------------------

lint: venv ## ruff, the generated sync client, import layers, yamllint, ansible-lint
	$(say) 'lint'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python agents/unasync.py --check
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint

types: venv ## mypy --strict; what an upstream or a client needs also for Windows
	$(say) 'types'
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 -p tmr.upstream -p tmr.standalone -p tmr.http -p tmr.service -p tmr.rpc -p tmr.net -p tmr.runtime -p tmr.quorum -p tmr.ledger -p tmr.licensing -p tmr.client -p tmr.cli -p tmr.api
	$(BIN)/mypy lab testbed demo chaos bench tests agents/unasync.py

audit: venv ## known weaknesses of the locked packages; says so where it cannot look (AUDIT=required: fails)
	$(say) 'audit'
	$(BIN)/python -m tests.audit

unit: venv ## pure code, properties, documents, a short run of hostile bytes
	$(say) 'unit tests'
	$(PYTEST) -n $(WORKERS) --dist loadfile tests/unit tests/fuzz

simulation: venv ## quorum and ledger under 4,000 seeds of faults, and broken protocols that must be caught
	$(say) 'simulation'
	$(PYTEST) -s tests/simulation

model: venv ## the protocol's models, searched exhaustively, whole and with one rule less
	$(say) 'model'
	$(BIN)/python -m tests.model --install
	$(PYTEST) -n auto tests/model

netns: venv host ## the VIP manager with real ARP in network namespaces
	$(say) 'network namespaces'
	$(PYTEST) tests/netns

api: venv ## the agents' HTTP interfaces
	$(say) 'interfaces'
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/api/test_server_fuzz.py tests/api # the longest first

system: venv ## all daemons as processes on loopback
	$(say) 'daemons on loopback'
	$(PYTEST) tests/system

lab-tests: venv host ## the lab itself
	$(say) 'the lab'
	$(PYTEST) tests/lab

molecule: venv host ## roles, failover, and minutes of all kinds of faults, all on the same deployed machines
	$(say) 'molecule: default'
	export MOLECULE_LAB=mol MOLECULE_DISK=ram; \
	$(BIN)/molecule destroy -s default; \
	trap '$(BIN)/molecule destroy -s default' EXIT; \
	$(BIN)/molecule test -s default --destroy=never; \
	printf '\n[%(%H:%M:%S)T] == %s\n' -1 'molecule: failover'; \
	$(BIN)/molecule verify -s failover; \
	printf '\n[%(%H:%M:%S)T] == %s\n' -1 'molecule: chaos'; \
	$(BIN)/molecule verify -s chaos

BESIDE := lint types audit model simulation
PARTS := unit api netns system lab-tests molecule bench-short

test: venv host ## everything; what needs no machines and no clock runs at idle priority beside what waits for them
	$(say) '$(BESIDE): at idle priority beside $(PARTS); their output is below'
	@mkdir -p .cache; \
	chrt --idle 0 $(MAKE) --no-print-directory $(BESIDE) >.cache/aside.log 2>&1 & aside=$$!; \
	trap 'kill $$aside 2>/dev/null || true' EXIT; \
	$(MAKE) --no-print-directory $(PARTS); \
	printf '\n[%(%H:%M:%S)T] == %s\n' -1 'what ran beside'; \
	wait $$aside || failed=$$?; cat .cache/aside.log; exit $${failed:-0}
	$(say) 'all parts passed'

bench-short: venv ## that the benchmarks work: a second for each case, which judges nothing
	$(say) 'bench, short'
	$(BIN)/python -m bench peers --short
	$(BIN)/python -m bench fairness --short

# -- using it ------------------------------------------------------------------------------------------------

demo: setup ## five machines from one command, and a licence that survives losing any of them
	$(say) 'demo'
	DEMO_LAB=$(DEMO_LAB) $(BIN)/python -m demo

plant: venv ## only the car plant of the demo: 200 stations at work for a minute, on the machines that make demo left
	DEMO_LAB=$(DEMO_LAB) $(BIN)/python -m demo --plant

down: ## remove the demo's machines and every trace of them
	python3 -m lab --name $(DEMO_LAB) down

fuzz: venv ## hostile bytes for every reader, for SECONDS_TO_RUN (default 3600); finds go to .cache/fuzz
	$(BIN)/python -m tests.fuzz --seconds $${SECONDS_TO_RUN:-3600}

soak: venv ## new seeds of the simulation for SECONDS_TO_RUN (default 3600); failures go into soak-failures.txt
	$(BIN)/python -m tests.simulation --seconds $${SECONDS_TO_RUN:-3600}

model-deep: venv ## the models within wider bounds: minutes, and up to 4 GiB
	$(BIN)/python -m tests.model --install
	$(BIN)/python -m tests.model

bench: setup ## beside etcd, Redis and keepalived, in alternation on this machine: ratios, into build/bench (an hour)
	$(say) 'bench'
	for what in peers scale deployed fairness; do $(BIN)/python -m bench $$what; done

chaos: setup ## all kinds of faults for MINUTES (10) while clients work, proof and report; SEED=n for the same again, KEEP=1
	$(say) 'chaos'
	$(BIN)/python -m chaos run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep)

chaos-many: MINUTES = 4
chaos-many: setup ## CAMPAIGNS (5) campaigns of new seeds on one lab, MINUTES (4) each, until one breaks a promise
	$(say) 'chaos, many'
	trap 'python3 -m lab --name chaos down' EXIT; \
	for campaign in $$(seq $(CAMPAIGNS)); do $(BIN)/python -m chaos run --minutes $(MINUTES) --keep; done

wheel: $(UV) ## the client library and the command tmr for application developers, into dist/
	$(UV) build --quiet --wheel --out-dir dist
	@ls dist/*.whl

openapi: venv ## docs/reference/openapi*.json anew, after a change of the client API
	$(BIN)/python -m tests.support.openapi

docs: venv ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: down ## forget caches and builds (not your inventory's secrets)
	rm -rf .cache build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
