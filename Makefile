# make demo    install the small size, draw three lesions, analyse them, say where the report is
# make test    install everything and run all tests
# make page    build the page for the browser (needs node 20 or newer), into src/cutis/serve/page
# make check   style, types and import contracts, in under a minute
# make bench   time the bundled models against public networks on this machine (idle), and draw the plots
# Python, the environment's folder and options can be chosen: make test PYTHON=python3.12 VENV=.venv312 PYTEST="-k imaging"

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN = $(VENV)/Scripts
else
PYTHON ?= python3
BIN = $(VENV)/bin
endif
VENV ?= .venv
DEMO ?= cutis-demo
PYTEST ?=

# Two times quiet leaves errors; pip's remarks about its own version and mirrors are no news to who runs the demo.
INSTALL = $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq --constraint constraints.txt
NEEDS = pyproject.toml constraints.txt

.PHONY: help demo test page check bench
help:
	@sed -n '/^$$/q; s/^# //p' Makefile

demo: $(VENV)/.has-small
	@$(BIN)/cutis demo --output $(DEMO)

test: $(VENV)/.has-all
	@if command -v npm > /dev/null; then $(MAKE) page; else echo "No npm was found: the page is not built, and not tested"; fi
	$(BIN)/python -m pytest $(PYTEST)

# What is built stands until something it is made of changes.
page: $(VENV)/.has-page src/cutis/serve/page/sw.js

PAGE_NEEDS = $(wildcard web/*.* web/src/* web/public/*.svg web/public/*.webmanifest src/cutis/page/*.py) \
	src/cutis/weights/models.json $(wildcard src/cutis/analysis/*.py src/cutis/imaging/*.py)
src/cutis/serve/page/sw.js: $(PAGE_NEEDS)
	npm ci --prefix web --ignore-scripts --silent
	$(BIN)/python -m cutis.page web/public
	npm run build --prefix web --silent

check: $(VENV)/.has-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.has-all
	$(BIN)/cutis benchmark

# A stamp says what was installed since pyproject.toml or constraints.txt changed; a bigger size holds the smaller ones.
$(VENV)/.has-small: $(NEEDS)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the small size into $(VENV)"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.has-check: $(NEEDS)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the small size and the checkers into $(VENV)"
	@$(INSTALL) --editable ".[check]"
	@touch $(VENV)/.has-small $@

$(VENV)/.has-page: $(NEEDS)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the small size and onnx into $(VENV)"
	@$(INSTALL) --editable . onnx
	@touch $(VENV)/.has-small $@

$(VENV)/.has-all: $(NEEDS)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing everything into $(VENV): PyTorch is 2 to 6 GB, so the first time takes minutes"
	@$(INSTALL) torch torchvision --editable ".[train,serve,dev]"
	@touch $(VENV)/.has-small $(VENV)/.has-check $(VENV)/.has-page $@
