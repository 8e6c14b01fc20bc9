# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-slow test-page test-neon test-others test-sanitize test-fire test-matrix check docs release bench install clean

# What the compiled module depends on; a change rebuilds it.
BUILD_INPUTS := pyproject.toml CMakeLists.txt scripts/install $(filter-out cpp/test/%,$(wildcard cpp/*.h cpp/*.cpp cpp/*/*.h cpp/*/*.cpp cpp/*/*.inl cpp/*/*.cmake cpp/*/*/*.h cpp/*/*/*.cpp))

demo: $(VENV)/.installed
	@$(BIN)/understudy demo

install: $(VENV)/.installed

$(VENV)/.installed: $(BUILD_INPUTS)
	@PYTHON="$(PYTHON)" scripts/install

$(VENV)/.installed-test: $(VENV)/.installed scripts/requirements-test.txt
	@scripts/install --test

test: $(VENV)/.installed-test
	@scripts/check
	@scripts/test

test-slow: $(VENV)/.installed-test
	@scripts/test --slow

test-page: $(VENV)/.installed-test
	@scripts/test --page

test-neon: $(VENV)/.installed-test
	@scripts/test --neon

test-others: $(VENV)/.installed-test
	@scripts/test --others

# The C++ core under the address, undefined-behaviour and thread sanitizers.
test-sanitize:
	@scripts/test-sanitize

# Mutated files, hostile strings, crowds of clients, kills, full disks, sanitizers: hours; counts are variables.
test-fire: $(VENV)/.installed-test
	@scripts/test-fire

# The unit tests with each CPython from 3.11 to 3.14 that is here.
test-matrix:
	@scripts/test-matrix

check: $(VENV)/.installed-test
	@scripts/check

docs: $(VENV)/.installed
	@scripts/docs

bench: $(VENV)/.installed
	@scripts/bench

# The source distribution and wheels, checked in clean environments; publishes nothing.
release:
	@scripts/release

clean:
	rm -rf build dist $(VENV)
