# The commands of this project. Plain `make` lists them.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# At most four at once, because some tests depend on timeouts of half a second.
WORKERS := -n logical --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint format fuzz clients bench bench-full trace audit lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/runtime ## serve the API on http://127.0.0.1:8000 (PORT, DATABASE_URL, ...)
	PORT=$(PORT) $(BIN)/gunicorn wsgi:app

test: $(VENV)/dev ## run every test on SQLite and PostgreSQL, print the coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(WORKERS) $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

test-fast: $(VENV)/dev ## run the tests that start no processes (a minute)
	$(BIN)/pytest $(WORKERS) -m "not processes" $(ARGS)

lint: $(VENV)/dev ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r contacts_service schemas examples wsgi.py gunicorn.conf.py

format: $(VENV)/dev ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/dev ## let schemathesis try the running service on both databases (minutes)
	PYTHONPATH=. $(BIN)/python tests/fuzz.py $(ARGS)

clients: $(VENV)/dev ## generate clients in Python, TypeScript, Go and Java, and run them (needs their tools; minutes)
	@PYTHONPATH=tests:. $(BIN)/python tests/clients/run.py $(ARGS)

bench: $(VENV)/dev ## measure the service beside bare SQL, a million contacts on both databases (minutes)
	$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(VENV)/dev ## the same with ten million contacts
	$(BIN)/python -m benchmarks --size 10000000 $(ARGS)

trace: $(VENV)/dev ## list the functions that a search, a message and an update pass, file by file
	@$(BIN)/python -m benchmarks.trace $(ARGS)

audit: $(VENV)/dev ## ask for known weaknesses of the pinned dependencies
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock

lock: $(VENV)/dev ## pin the newest dependencies that setup.cfg allows
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links \
		--upgrade --output-file requirements.lock setup.cfg
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links \
		--upgrade --allow-unsafe --extra dev --constraint requirements.lock --output-file requirements-dev.lock setup.cfg

clean: ## remove what the other commands made, but no data
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp each: a second start finds it newer than the lock file and needs no network.
$(VENV)/runtime: requirements.lock | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check $$([ -t 2 ] || echo -q) --require-hashes -r requirements.lock
	touch $@

$(VENV)/dev: requirements-dev.lock | $(BIN)/python
	$(BIN)/pip install --disable-pip-version-check $$([ -t 2 ] || echo -q) --require-hashes -r requirements-dev.lock
	touch $@ $(VENV)/runtime
