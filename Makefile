# One command each, on a machine with Python 3.10 or later, a C++17 compiler and make:
#
#   make demo                          the whole path on generated images: report in demo_out/report.html
#   make demo DATA=folder VIDEO=file   the same on your own (one folder of images per class)
#   make test                          style, types and every test (with real TensorRT-RTX builds
#                                      on Linux x86_64, which need no GPU; RTX=0 leaves them out)
#   make lint                          style and types only
#   make dev                           only the environment (.venv), for working on the code
#   make resolve                       both ends of the supported Python versions still resolve
#   make clean                         remove what these commands made
#
# Variables: PYTHON (interpreter), VENV (environment), VENV_ARGS (for example
# --system-site-packages), TORCH_INDEX (package index for torch, for CPU-only builds), OUT
# (demo's output folder), PRETRAINED (backbone weights for your own images), PYTEST_ARGS, RTX,
# WORKERS (processes that run the tests; 0 runs them in pytest's own).

PYTHON ?= python3
VENV ?= .venv
VENV_ARGS ?=
TORCH_INDEX ?=
OUT ?= demo_out
DATA ?=
VIDEO ?=
PRETRAINED ?=
PYTEST_ARGS ?=
RTX ?= 1
WORKERS ?= 0

SHELL := /bin/bash
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STAMPS := $(VENV)/.stamps
NATIVE := CMakeLists.txt $(shell find csrc -type f 2>/dev/null)

.DELETE_ON_ERROR:
.PHONY: demo test lint dev resolve clean

demo: $(STAMPS)/package
	$(BIN)/bas-edge demo --output "$(OUT)" $(if $(DATA),--data "$(DATA)") \
	  $(if $(VIDEO),--video "$(VIDEO)") $(if $(PRETRAINED),--pretrained "$(PRETRAINED)")

# A file of tests stays in one process, and files in their order: the longest are not the last.
# A process that dies takes its file with it, which would else be begun again.
test: lint $(STAMPS)/rtx-$(RTX)
	BAS_EDGE_REQUIRE_RTX="$$(cat $(STAMPS)/rtx-$(RTX))" $(BIN)/python -m pytest \
	  --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
	  --max-worker-restart 0 $(PYTEST_ARGS)

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	find csrc tests -name '*.[ch]' -o -name '*.[chm]pp' -o -name '*.cu' -o -name '*.cuh' | xargs -r $(BIN)/clang-format --dry-run -Werror

dev: $(STAMPS)/dev

resolve: $(STAMPS)/dev
	$(BIN)/python .ci/resolve.py 3.10 3.13

clean:
	rm -rf "$(VENV)" build dist demo_out .mypy_cache .pytest_cache .ruff_cache .hypothesis

# pip comes with the environment, torch before all else, the package with what it needs, then
# the tools. No build isolation: the build tools are pinned too, and a rebuild takes seconds.
$(STAMPS)/torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV_ARGS) $(VENV)
	@echo "installing into $(VENV) (torch is large: this can take minutes)"
	$(PIP) --upgrade pip
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") torch
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: $(STAMPS)/torch pyproject.toml $(NATIVE)
	$(PIP) scikit-build-core pybind11 cmake ninja
	$(PIP) --no-build-isolation --editable '.[train,video,report,mqtt,webhook,serve]'
	@touch $@

$(STAMPS)/dev: $(STAMPS)/package
	$(PIP) --group dev
	@touch $@

# NVIDIA publishes TensorRT-RTX for Linux on x86_64 and for Windows. The stamp holds whether it is
# here, so that tests which need it fail instead of being skipped where it was installed.
$(STAMPS)/rtx-1: $(STAMPS)/dev constraints.txt
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  echo "installing TensorRT-RTX, to build real engines without a GPU" && \
	  $(PIP) tensorrt-rtx && echo 1 > $@; \
	else \
	  echo "no TensorRT-RTX for $$(uname -sm): tests that build with it are skipped"; echo 0 > $@; \
	fi

$(STAMPS)/rtx-0: $(STAMPS)/dev
	@echo "RTX=0: tests that build with TensorRT-RTX are skipped where it is not installed"
	@echo 0 > $@
