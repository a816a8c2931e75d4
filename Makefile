# Everything runs in .venv, which the first target creates. `make demo` and `make test` need nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# setuptools_scm: for Norse, which comes as source.
BUILD_REQUIRES := "setuptools>=77" "setuptools_scm>=8" "pybind11>=2.13" "cmake>=3.24" ninja
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Four processes at most: each loads torch, and the emulated GPUs.
PYTEST := $(BIN)/python -m pytest -p no:benchmark -n auto --maxprocesses 4 --dist worksteal
CPP := $(wildcard csrc/*.h csrc/*.cpp csrc/*/*.h csrc/*/*.cpp csrc/*/*.cu csrc/*/*/*) $(wildcard tests/ptxsim/*.c tests/sanitize/*.h tests/sanitize/*.cpp)

# Installing builds too, in the same folder.
.NOTPARALLEL:
.PHONY: demo test test-slow test-all test-nir docs build bench mutations sanitize sanitize-cpu sanitize-gpu package-test gpu-table lint format clean

demo: build $(VENV)/.installed
	$(BIN)/snnkern demo --out demo

test: build $(VENV)/.developer
	$(PYTEST)

test-slow: build $(VENV)/.developer
	$(PYTEST) -m "slow and not exhaustive"

test-all: build $(VENV)/.developer
	$(PYTEST) -m ""

# sinabs pins an old nir, SpikingJelly and snnTorch need a new one: the tests of NIR run with either.
test-nir: build $(VENV)/.developer
	$(PIP) --no-deps --upgrade --target build/nir "nir>=1.0.7" "nirtorch>=2.6"
	PYTHONPATH=build/nir $(BIN)/python -m pytest $(wildcard tests/test_nir*.py)

# The site, in site/: a page, link or name that is not there is an error (not so with --quiet, which drops warnings).
docs: $(VENV)/.developer
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: build $(VENV)/.developer
	$(BIN)/snnkern bench

# Faults in copies of the GPU kernels: the tests must catch every one. Tens of minutes.
mutations: build $(VENV)/.developer
	$(BIN)/python tests/mutations.py

# A program that calls all CPU kernels: the shipped ones against pages that nobody may touch, and builds with sanitizers.
# `quick=1`: of the sanitizers' builds only the instruction set that any processor has, and fewer calls.
CALLS := $(if $(quick),30,100)
SANITIZERS := address,undefined thread
NATIVE = build/cmake-$(shell $(BIN)/python -c "import sysconfig; print(sysconfig.get_config_var('SOABI'))")
CMAKE_OF = $(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DSNNKERN_PLAIN=$(if $(quick),ON,OFF)

sanitize-cpu: build
	$(BIN)/cmake --build $(NATIVE) --target driver >/dev/null
	$(NATIVE)/tests/sanitize/driver $(CALLS)
	printf '%s\n' $(SANITIZERS) | xargs -P 2 -I KIND sh -ec 'folder=build/sanitize-KIND$(if $(quick),-plain); \
	  $(CMAKE_OF) -S tests/sanitize -B $$folder -DSANITIZE=KIND >/dev/null; $(BIN)/cmake --build $$folder >/dev/null; \
	  echo "== KIND"; $$folder/driver $(CALLS)'

# Each tensor is an allocation of its own, so that what lies beyond it is seen. Only our kernels are looked at, but by
# initcheck, to which what torch's kernels wrote would be unwritten.
SANITIZER := $(or $(shell command -v compute-sanitizer),$(wildcard /usr/local/cuda/bin/compute-sanitizer))
SANITIZER_FLAGS := --error-exitcode 1
OURS := --kernel-regex kns=3snn
SELFTEST := $(BIN)/python -m snnkern selftest --quick --device cuda --backend native

sanitize: sanitize-cpu sanitize-gpu

sanitize-gpu: build $(VENV)/.developer
	@test -n "$(SANITIZER)" || { echo "make sanitize-gpu needs compute-sanitizer of the CUDA toolkit in PATH." >&2; exit 1; }
	@$(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())" \
	  || { echo "make sanitize-gpu needs a GPU: torch sees no CUDA device." >&2; exit 1; }
	@for tool in memcheck racecheck initcheck synccheck; do echo "== $$tool"; \
	  ours="$(OURS)"; test $$tool != initcheck || ours=; \
	  PYTORCH_NO_CUDA_MEMORY_CACHING=1 $(SANITIZER) --tool $$tool $(SANITIZER_FLAGS) $$ours $(SELFTEST) || exit 1; done

# What users install: in environments of their own, which downloads torch. Tens of minutes.
package-test:
	$(PYTHON) tests/package/run.py

# The facts of all GPU kernels, without a GPU, and the tables of docs/gpu.md; `rivals=1` compiles SpikingJelly's anew, too.
gpu-table: build $(VENV)/.developer
	$(if $(rivals),$(BIN)/python -m benchmarks.gpu_rivals)
	$(BIN)/python -m benchmarks.gpu_static --json benchmarks/gpu_static.json
	$(BIN)/python -m benchmarks.gpu_tables

# ninja knows what has changed; nothing is compiled twice.
build: $(VENV)/.tools
	$(BIN)/python setup.py --quiet build_ext --inplace

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(VENV)/.developer
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

clean:
	rm -rf build demo site *.egg-info snnkern/*.so $(VENV)/.tools $(VENV)/.installed $(VENV)/.developer

$(VENV)/.tools: | $(BIN)/python
	$(PIP) $(BUILD_REQUIRES)
	touch $@

# Without build isolation: CMake's cache then names programs that stay.
$(VENV)/.installed: pyproject.toml setup.py | $(VENV)/.tools
	@echo "Installing snnkern into $(VENV) (the first time downloads torch)"
	$(PIP) --no-build-isolation --editable .
	touch $@

$(VENV)/.developer: pyproject.toml setup.py | $(VENV)/.tools
	@echo "Installing snnkern and its developers' tools into $(VENV) (the first time downloads torch)"
	$(PIP) --no-build-isolation --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
