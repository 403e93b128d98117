# `make serve` and `make test` need Python 3.11 or later and nothing else; both set up what they need in .venv.
PYTHON ?= $(firstword $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done))
EXTRAS ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

comma := ,
server_extras := $(if $(EXTRAS),[$(EXTRAS)])
all_extras := [test,lint,bench$(if $(EXTRAS),$(comma)$(EXTRAS))]

.PHONY: serve test lint format setup bench clean

serve: setup
	$(BIN)/omlx serve --demo $(ARGS)

# Without ARGS, everything in two halves at once: servers wait for each other more than they compute.
test: $(VENV)/.test-$(EXTRAS)
ifneq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest $(ARGS)
else
	@mkdir -p .cache
	@$(BIN)/python -m pytest tests/docs tests/unit tests/mlx tests/contracts >.cache/first-half.log 2>&1 & first=$$!; \
	$(BIN)/python -m pytest tests/e2e tests/integration; second=$$?; \
	wait $$first; first=$$?; cat .cache/first-half.log; test $$first -eq 0 && test $$second -eq 0
endif

lint: $(VENV)/.test-$(EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test-$(EXTRAS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A short run of every benchmark, on the demo model; benchmarks/README.md has the long ones.
bench: $(VENV)/.test-$(EXTRAS)
	$(BIN)/python -m benchmarks.bench_scheduler --short $(ARGS)
	$(BIN)/python -m benchmarks.bench_transport --short $(ARGS)
	$(BIN)/python -m benchmarks.bench_engine --short $(ARGS)
	$(BIN)/python -m benchmarks.bench_batching $(ARGS)
	$(BIN)/python -m benchmarks.bench_prefix_cache --short $(ARGS)
	$(BIN)/python -m benchmarks.bench_stalls --short $(ARGS)
	$(BIN)/python -m benchmarks.soak --seconds 20 $(ARGS)
	$(BIN)/python -m benchmarks.bench_serving --rounds 1 --clients 1,8 --compare mlx-lm $(ARGS)

setup: $(VENV)/.serve-$(EXTRAS)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name yours: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve-$(EXTRAS): $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable ".$(server_extras)"
	@$(call prefer_cuda)
	@touch $@

$(VENV)/.test-$(EXTRAS): $(VENV)/.serve-$(EXTRAS)
	$(PIP) install --quiet --constraint constraints.txt --editable ".$(all_extras)"
	@$(call prefer_cuda)
	@touch $@

# MLX's CPU and CUDA builds are the same file in two packages; the one installed last is the one in use.
define prefer_cuda
	case ",$(EXTRAS)," in *,cuda13,*) \
		$(PIP) install --quiet --constraint constraints.txt --force-reinstall --no-deps mlx-cuda-13 ;; esac
endef

clean:
	rm -rf $(VENV)
