# Two commands: `make test` and `make demo`. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: test demo search-demo lint editable-test wheel-test clean

$(BIN)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lwprof needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs,native,parquet,search,tvm]'
	touch $@

# Lint, types, then the tests against the installed package; WHEEL=1 tests a built wheel.
test: lint $(if $(WHEEL),wheel-test,editable-test)

editable-test: $(BIN)/.ready
	$(BIN)/python -m pytest -q

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The main job on a real network, with both runtimes.
demo: $(BIN)/.ready
	mkdir -p .demo
	$(BIN)/lwprof zoo build squeezenet1_1 -o .demo/squeezenet1_1.onnx
	$(BIN)/lwprof measure .demo/squeezenet1_1.onnx --device host --threads 1 --budget 90s \
	  --store .demo/measurements.db --json .demo/onnxruntime.json
	$(BIN)/lwprof measure .demo/squeezenet1_1.onnx --device host --threads 1 --budget 60s \
	  --runtime tvm --store .demo/measurements.db --json .demo/tvm.json

# A search from data to networks measured on this machine; interrupted, it goes on.
search-demo: $(BIN)/.ready
	mkdir -p .demo
	$(BIN)/python examples/digits/search.py --store .demo/search.db --json .demo/search.json

# The same tests against a wheel in an environment of its own.
wheel-test:
	rm -rf build dist .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --upgrade pip build
	.venv-wheel/bin/python -m build --quiet --wheel --outdir dist .
	.venv-wheel/bin/python -m pip install --quiet "$$(ls dist/lwprof-*.whl)[dev,docs,native,parquet,search,tvm]"
	.venv-wheel/bin/python -m pytest -q

clean:
	rm -rf build dist .venv .venv-wheel .demo *.egg-info
