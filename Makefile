# The commands a person types. What they install is decided in scripts/install.py.
PYTHON ?= python3
PLUGINS ?= box
PYTEST = .venv/bin/python -m pytest
# Two workers, a file at a time, in the order of tests/conftest.py.
SHARED = -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: run test bench torture lint screenshots translations

run: # serve on this machine; PLUGINS=all adds every plugin
	@$(PYTHON) scripts/install.py $(PLUGINS)
	@CHATSERVER_DATA="$${CHATSERVER_DATA:-$(CURDIR)/.local/data}" \
	CHATSERVER_CONFIG="$${CHATSERVER_CONFIG:-$(CURDIR)/.local/chatserver.toml}" \
	exec .venv/bin/chatserver serve

test: # everything: ruff, mypy, the import rules, the browser
	@$(PYTHON) scripts/install.py test
	@$(PYTEST) -q $(SHARED)

bench: # the figures of docs/performance.md
	@$(PYTHON) scripts/install.py test
	@.venv/bin/python -m benchmarks

torture: # the long forms of the fault tests
	@$(PYTHON) scripts/install.py test
	@$(PYTEST) -q -m torture --timeout 14400

lint: # what is quick enough to run before every commit
	@$(PYTHON) scripts/install.py test
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(PYTEST) -q tests/test_floors.py tests/test_words.py tests/test_hooks_lock.py

screenshots: # pictures of every page into docs/screenshots, to be looked at
	@$(PYTHON) scripts/install.py test
	@.venv/bin/python -m tests.browser.screenshots docs/screenshots

translations: # every marked message into the catalogues; says what is not translated
	@$(PYTHON) scripts/install.py test
	@.venv/bin/python scripts/translations.py
