# Two commands: `make app` starts NeuraRay, `make test` passes its checks. Both need only python3 (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: app demo test check model bench clean

app: .venv/app
	$(BIN)/streamlit run streamlit_app.py

# The app on a worklist of invented films in .demo/, offline; `make demo DEMO=--keep` goes on with the last one.
demo: .venv/app
	$(BIN)/python -m cxr_core.demo $(DEMO)

test: check
	$(BIN)/pytest -n auto -m "not alone"
	$(BIN)/pytest -m alone

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The default model again, from the films named by CXR_DATA (hours on two cores; resumes where it stopped), as
# another version: `make model VERSION=2.0.0`.
model: .venv/app
	$(if $(VERSION),,$(error say which version it shall be, as in: make model VERSION=2.0.0))
	$(BIN)/cxr train recipes/cxr14_mobilenetv2.toml
	$(BIN)/cxr export cxr14_mobilenetv2 --version $(VERSION)

bench: .venv/app
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/worklist.py
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/performance.py

.venv/app: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

.venv/dev: .venv/app requirements-dev.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache
