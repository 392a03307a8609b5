# make run     everything on this machine: sets up, makes a node in ./run, installs Debian on its VPS 01, and keeps serving
# make serve   only serves that node
# make test    sets up and runs the whole test suite; as root all of it
# make help    this, and the rest

NODE ?= run
PORT ?= 8089
CONFIG = $(NODE)/etc/dtc-xen/dtc-xen.conf
PYTHON = .venv/bin/python
DTCXEN = .venv/bin/dtcxen

.PHONY: help run serve test test-debian13 xenlab-test xenlab-full bench lint golden documents clean setup setup-test
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -E '^[a-z0-9-]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.* ## /\1\t/' | expand -t 16
	@echo "NODE=$(NODE) is the node's directory, PORT=$(PORT) its port when it is made"

run: setup ## the main job: a daemon on https://127.0.0.1:8089 that installs Debian on VPS 01, and goes on serving
	@exec $(PYTHON) tools/demo.py --node $(NODE) --port $(PORT)

serve: setup ## serve that node, without the demonstration
	@test -e $(CONFIG) || $(DTCXEN) init $(NODE) --port $(PORT)
	@exec $(DTCXEN) serve --config $(CONFIG)

test: setup-test ## every test there is; CI runs this
	$(PYTHON) -m pytest $(PYTEST)
	$(PYTHON) tools/debian13.py
	DTCXEN_XENLAB=short $(PYTHON) -m pytest tests/xenlab

test-debian13: setup-test ## only the unit tests with Debian 13's Python and packages, in a chroot
	$(PYTHON) tools/debian13.py

xenlab-test: setup-test ## the short lab: this daemon on a real Xen under QEMU; SUITE=trixie XEN_VERSION=4.20 for Debian 13; needs root
	DTCXEN_XENLAB=short $(PYTHON) -m pytest tests/xenlab

xenlab-full: setup-test ## all of the lab, the short one included
	DTCXEN_XENLAB=full $(PYTHON) -m pytest tests/xenlab

bench: setup-test ## what it costs, as ratios measured in one run; needs root and a quiet machine
	for file in disks throughput startup ping reinstall images; do $(PYTHON) bench/$$file.py || exit 1; done

lint: setup-test ## ruff, mypy and the house rules
	$(PYTHON) -m pytest -q tests/test_house.py

golden: setup-test ## write tests/golden/ anew; read the diff
	$(PYTHON) -m pytest -q --rewrite tests/unit

documents: setup-test ## write etc/, man/ and wsdl/ anew from the tables
	$(PYTHON) -m tools.documents

clean: ## remove what was set up; NODE is kept, since it may be in use
	rm -rf .venv .cache build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

setup: ## packages and .venv for the daemon
	@tools/setup.sh run

setup-test: ## packages and .venv for the tests
	@tools/setup.sh test
