# The same verbs on a laptop, in pre-commit and in CI; `make` alone lists them.
PYTHON  ?= python3
COMPOSE ?= docker compose
DATASET ?= cifar10
ARGS    ?=
BENCH   ?=

# Environments, so that serving never installs torch: .venv holds the service, .venv-train what trains, .venv-dev everything.
# And one for the servers that ours is measured beside, whose requirements differ.
SERVE_VENV := .venv
TRAIN_VENV := .venv-train
DEV_VENV   := .venv-dev
PEERS_VENV := .venv-peers
SERVE := $(SERVE_VENV)/bin/python
DEV   := $(DEV_VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help serve test lint format train bench peers up down clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: $(SERVE_VENV)/.installed ## install (once) and serve on http://127.0.0.1:8000; settings come from SCA_* variables
	@exec $(SERVE) -m service $(ARGS)

test: $(DEV_VENV)/.installed ## run every test; ARGS='-k batcher' picks some
	@exec $(DEV) -m pytest $(ARGS)

lint: $(DEV_VENV)/.installed ## ruff (rules and layout) and mypy --strict; changes nothing
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	$(DEV) -m mypy

format: $(DEV_VENV)/.installed ## let ruff lay out the code and mend what it can
	$(DEV) -m ruff format .
	$(DEV) -m ruff check --fix .

train: $(TRAIN_VENV)/.installed ## train a model: DATASET=mnist|cifar10|norb, DATA_DIR=folder with the official files
	@exec $(TRAIN_VENV)/bin/python -m training.run --dataset $(DATASET) $(if $(DATA_DIR),--data-dir '$(DATA_DIR)') $(ARGS)

bench: $(if $(BENCH),$(DEV_VENV),$(SERVE_VENV))/.installed ## find the settings that serve fastest here; BENCH=name runs benchmarks/name.py
	@test -z '$(BENCH)' || test -f 'benchmarks/$(BENCH).py' || { echo \
		'error: there is no benchmark "$(BENCH)"; there are:' $$(grep -l __main__ benchmarks/*.py | xargs -n1 basename -s .py) >&2; exit 1; }
	@exec $(if $(BENCH),$(DEV) -m benchmarks.$(BENCH),$(SERVE) -m service.bench) $(ARGS)

peers: $(DEV_VENV)/.installed ## install the servers that BENCH=serving compares with, in an environment of their own
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --disable-pip-version-check --requirement benchmarks/peers/requirements.txt \
		"onnxruntime==$$($(DEV) -c 'import onnxruntime; print(onnxruntime.__version__)')"

up: ## start service, Prometheus and Grafana in containers; returns once they are healthy
	$(COMPOSE) up --build --detach --wait
	@echo "service http://127.0.0.1:$${PUBLISHED_PORT:-8000}   Prometheus http://127.0.0.1:9090   Grafana http://127.0.0.1:3000"

down: ## stop the containers; their data stays
	$(COMPOSE) down

clean: ## remove what install and build left; data, runs and models stay
	rm -rf $(SERVE_VENV) $(TRAIN_VENV) $(DEV_VENV) $(PEERS_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last: an install that was cut short is taken up again, a finished one is not repeated until
# pyproject.toml changes. Editable, so that a changed source is what runs.
%/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		'error: Python 3.11 or newer is needed and "$(PYTHON)" is not; name one: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) || { echo \
		'error: "$(PYTHON)" cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(@D)/bin/python -m pip install --disable-pip-version-check --editable '.[$(EXTRA)]'
	@touch $@

$(SERVE_VENV)/.installed: EXTRA := cpu
$(TRAIN_VENV)/.installed: EXTRA := training
$(DEV_VENV)/.installed: EXTRA := dev
