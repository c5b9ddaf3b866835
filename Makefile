# The first Python that will do; or name one: make PYTHON=/path/to/python3.10
# Where there is none, uv fetches a Python 3.11 of its own (see FETCHED).
SUITS := import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 12))
PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3.9 python3,$(shell \
	$(p) -c '$(SUITS)' >/dev/null 2>&1 && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV_VERSION := 0.13.8
# A file that holds the path of the Python that uv fetched.
FETCHED := .uv/python
PEERS := benchmarks/.venvs

.PHONY: help install quickstart figures test soak lint lock benchmark \
	benchmark-peers clean

help:
	@echo "make quickstart  install into $(VENV), train on handwritten digits"
	@echo "make figures     draw the README's picture"
	@echo "make test        the whole test suite, and how much of the code it runs"
	@echo "make soak        the long proofs: 200 kills, a thousand rounds, 100,000"
	@echo "                 damaged files, every task in every format"
	@echo "make lint        formatting, lint, imports and types"
	@echo "make lock        resolve requirements.txt anew"
	@echo "make benchmark   the same work here, on TFF as shipped, on peers"
	@echo "make benchmark-peers  install the peers, each in a venv of its own"
	@echo "make clean       remove $(VENV), $(PEERS), caches, runs/quickstart"

install: $(INSTALLED)

$(INSTALLED): requirements.txt setup.cfg pyproject.toml $(if $(PYTHON),,$(FETCHED))
	@[ -z "$(PYTHON)" ] || $(PYTHON) -c '$(SUITS)' 2>/dev/null || { \
		echo "Python 3.9, 3.10 or 3.11 is needed and $(PYTHON) is" \
		"$$($(PYTHON) --version 2>&1); name one of them, make" \
		"PYTHON=/path/to/python3.11, or none, and uv fetches one" >&2; exit 2; }
	$(or $(PYTHON),"$$(cat $(FETCHED))") -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
		--no-deps -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
		--no-deps --no-build-isolation -e .
	@touch $@

# uv is the one that is here, or is put into a venv of its own by any Python 3.
$(FETCHED):
	@echo "No Python 3.9, 3.10 or 3.11 is here; uv fetches a Python 3.11" >&2
	@uv=$$(command -v uv) || { uv=.uv/bin/uv && python3 -m venv --clear .uv && \
		.uv/bin/python -m pip install --disable-pip-version-check --quiet \
		uv==$(UV_VERSION); } || { echo "uv cannot be installed; install" \
		"Python 3.11, or uv, and try again" >&2; exit 2; }; \
	mkdir -p $(@D) && $$uv python install 3.11 && \
		$$uv python find --managed-python 3.11 >$@.new && mv $@.new $@ || { \
		echo "uv cannot fetch a Python; install Python 3.11, and try again" \
		>&2; exit 2; }

quickstart: install
	$(BIN)/python scripts/train.py --flagfile=configs/quickstart.flags \
		--output_dir=runs/quickstart

figures: quickstart
	cp runs/quickstart/plots/learning_curve.png docs/learning_curve.png

# Two at a time; a file's tests together, for they share what they trained, and
# in the order that tests/conftest.py gives them. It ends with the lines of
# tff_pipeline that no test runs, and fails if they are more than a tenth.
test: install
	$(BIN)/python -m tests.testing.line_coverage --at_least=90 \
		-n 2 --dist loadfile --no-loadscope-reorder

# The figures are printed. Not beside other work, which would slow it.
soak: install
	$(BIN)/python -m pytest -m soak -s

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The lock is for Linux x86_64 and Python 3.9 to 3.11 alone, for which the
# markers that say so on every line are noise.
lock: install
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(VENV)/lock/bin/uv pip compile setup.cfg --extra federated --extra dev --universal \
		--python-version 3.9 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --quiet --output-file requirements.txt
	sed -i -e "s/ ; python_full_version < '3.12' and platform_machine == 'x86_64' and sys_platform == 'linux' / /" \
		-e "s/ and python_full_version < '3.12'//" \
		-e "s/ and platform_machine == 'x86_64'//" \
		-e "s/ and platform_python_implementation != 'PyPy'//" \
		-e "s/ and implementation_name != 'PyPy'//" \
		-e "s/ and sys_platform == 'linux'//" requirements.txt
	$(VENV)/lock/bin/uv pip compile deploy/requirements.in \
		--constraint requirements.txt --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --quiet \
		--output-file deploy/requirements.txt

benchmark: install
	$(BIN)/python -m benchmarks.run

# pfl, fedjax, Flower, JAX, PEFT and byzfl, of which no two need agree on a dependency.
benchmark-peers: $(patsubst benchmarks/peers/%.txt,$(PEERS)/%/.installed,\
		$(wildcard benchmarks/peers/*.txt))

$(PEERS)/%/.installed: benchmarks/peers/%.txt
	@$(or $(PYTHON),python3) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "The peers need Python 3.11 and $(PYTHON) is" \
		"$$($(or $(PYTHON),python3) --version 2>&1); name it:" \
		"make benchmark-peers PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet -r $<
	@touch $@

clean:
	rm -rf $(VENV) .uv $(PEERS) *.egg-info build .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis runs/quickstart
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
