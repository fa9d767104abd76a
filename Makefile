# One task runner. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
DEBIAN_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/servescope/debian
ALERTMANAGER ?= $(shell command -v prometheus-alertmanager || command -v $(DEBIAN_TOOLS)/usr/bin/prometheus-alertmanager)
AM_SHARE := /usr/share/prometheus/alertmanager
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo setup setup-dev browser alertmanager engine fmt lint types test bench page-quality pictures docs proto lock sbom scan image check build clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: setup ## Load a real trace, print what it shows, serve the dashboard
	@$(BIN)/servescope demo $(DEMO_FLAGS)

setup: $(VENV)/.installed ## Create the environment and install servescope into it

setup-dev: $(VENV)/.installed-dev ## The same with what tests and checks need

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "servescope needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "could not create a virtual environment; on Debian: apt-get install python3-venv"; exit 2; }
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "Installing servescope and its dependencies (about a minute the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	@echo "Installing what the tests need"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

browser: ## Install Debian's Chromium for the browser tests, when it is missing and can be installed
ifeq ($(CHROMIUM),)
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing Chromium"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
	  echo "NOTE: no Chromium and no right to install it: the browser tests will be skipped (apt-get install chromium)"; \
	fi
endif

# Unpacked, not installed: Debian's packages would start services. Its Alertmanager reads one template by an absolute path.
alertmanager: ## Fetch Debian's Alertmanager and promtool for the tests, where they are missing
ifeq ($(ALERTMANAGER),)
	@if command -v apt-get >/dev/null && command -v dpkg >/dev/null; then \
	  echo "Fetching Alertmanager and promtool"; \
	  mkdir -p $(DEBIAN_TOOLS) && cd $(DEBIAN_TOOLS) \
	    && { [ "$$(id -u)" != 0 ] || apt-get update -qq; } \
	    && apt-get download -qq prometheus-alertmanager prometheus 2>/dev/null \
	    && for file in *.deb; do dpkg -x "$$file" . && rm "$$file"; done \
	    && { [ -e $(AM_SHARE) ] || { mkdir -p $(AM_SHARE) && cp .$(AM_SHARE)/*.tmpl $(AM_SHARE)/; }; } \
	    || echo "NOTE: Alertmanager could not be fetched: its tests will be skipped"; \
	else \
	  echo "NOTE: no Alertmanager and no apt-get: its tests will be skipped"; \
	fi
endif

engine: setup-dev ## Build llama-server for `demo --live` and the tests of a real engine (minutes, once)
	@if ! command -v cmake >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "Installing cmake and a C++ compiler"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cmake g++ make >/dev/null; \
	fi
	@$(BIN)/python -m servescope.live.obtain

fmt: setup-dev ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup-dev ## Style and the layers of the architecture
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports

types: setup-dev ## mypy --strict on all packages
	@$(BIN)/mypy

test: setup-dev browser alertmanager ## Everything the project promises, in about twenty minutes on two cores
	@# Each worker has a core: threads of OpenMP that wait for one another by turning would take it.
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_FLAGS)

bench: setup-dev ## Measure, each beside its peer or its limit (see docs/performance.md)
	@$(BIN)/python benchmarks/run.py $(BENCH_FLAGS)

page-quality: setup-dev browser ## axe, Lighthouse, bytes and seconds of every page (Lighthouse from npm, into the cache folder)
	@$(BIN)/python benchmarks/page_quality.py $(BENCH_FLAGS)

pictures: setup-dev browser ## A picture of every page, light and dark: build/pictures, and what the docs show of them
	@$(BIN)/python tests/browser/pictures.py --docs docs/images $(PICTURE_FLAGS)

docs: setup-dev ## Write the generated reference pages
	@$(BIN)/python -m servescope.reference

proto: setup-dev ## Generate messages (remote-write, KEDA) from their .proto files
	@$(BIN)/python -m pip install -qq --disable-pip-version-check grpcio-tools
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. collector/remote_write/proto/*.proto
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. controller/actuators/keda_proto/*.proto

LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command "make lock"
EXTRAS = keda kubernetes lake live oidc pdf predict report tui tune
IMAGE_EXTRAS = keda kubernetes lake oidc

lock: setup-dev ## Renew the locked dependencies in deploy/lock (docs/operating/supply-chain.md)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(LOCK) --output-file deploy/lock/core.txt
	@$(LOCK) $(IMAGE_EXTRAS:%=--extra %) --output-file deploy/lock/container.txt
	@$(LOCK) $(EXTRAS:%=--extra %) --overrides deploy/lock/without-torch.txt --output-file deploy/lock/extras.txt

sbom: build ## What the locked dependencies are, as CycloneDX: build/servescope.cdx.json
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv cyclonedx-bom
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/locked
	@$(BIN)/uv pip install --quiet --python build/locked --require-hashes -r deploy/lock/extras.txt
	@$(BIN)/uv pip install --quiet --python build/locked --no-deps dist/*.whl
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file build/servescope.cdx.json build/locked

image: build ## The container image, by podman, docker or buildah (docs/operating/container.md)
	@program=$$(command -v podman || command -v docker || command -v buildah) \
	  || { echo "no podman, docker or buildah here"; exit 2; }; \
	$$program build --file deploy/container/Containerfile --tag servescope:$$($(BIN)/python -c \
	  'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])') .

scan: setup-dev ## bandit over the packages, pip-audit over the lock (it asks pypi.org)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check 'bandit[toml]' pip-audit
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml \
	  store collector analysis predictors controller dashboard servescope
	@$(BIN)/pip-audit --require-hashes --disable-pip -r deploy/lock/extras.txt

build: setup-dev ## Build wheel and sdist into dist/, without a network
	@$(BIN)/python -m build --no-isolation --outdir dist .

check: lint types test ## What CI runs

clean: ## Remove caches and build results, keep the environment
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
