# `make demo` and `make test` are all that a fresh machine needs (Python 3.11+, make, git).
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EMBEDDED ?= var/embedded
CATALOGUES := cloudpriv/portal/translations

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## set up .venv from the pinned requirements

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## the whole life of an account on the embedded stack, to the end
	$(BIN)/cloudpriv demo

serve: install ## the embedded stack with API, worker and schedule; stays up
	$(BIN)/cloudpriv serve --embedded $(EMBEDDED)

test: install lint browser ## all checks and tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

browser: ## Debian's Chromium for the tests of the portal, where it is missing and root may install it
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || \
	  echo "Chromium is not here: the tests of the portal will fail until it is (Debian: apt-get install chromium)."

lint: install ## style, types, import contracts, openapi.yaml in step
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/cloudpriv openapi --check openapi.yaml

bench: install ## every figure beside its baseline, one JSON line each
	$(BIN)/python -m tests.bench

messages: install ## gather the portal's texts into its catalogues and compile them; what is new comes untranslated
	@mkdir -p build
	$(BIN)/pybabel -q extract --mapping-file babel.cfg --keywords "_l lazy_gettext" --add-location file --width 125 \
	  --project cloudpriv --msgid-bugs-address "" --output-file build/messages.pot .
	$(BIN)/pybabel -q update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 125 \
	  --input-file build/messages.pot --output-dir $(CATALOGUES)
	$(BIN)/pybabel -q compile --directory $(CATALOGUES)

lock: ## pin the newest allowed versions anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock

clean: ## remove what `install`, `serve` and tests left in this folder
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help install demo serve test browser lint bench messages lock clean
