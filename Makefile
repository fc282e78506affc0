# The commands of lesson8lib: `make help` lists them.
# In a fresh clone, `make test CONSTRAINTS=` takes the newest release of everything, and `make notebooks CONSTRAINTS=constraints-oldest.txt`
# the oldest that the package supports; in a clone that has a .venv, they run what is installed there;
# `make setup PYTHON=…` takes that Python for a new .venv;
# `make docs RENDERER=quarto` (or smalldocs) takes that renderer; `make test` takes smalldocs.

CONSTRAINTS = constraints.txt
RENDERER ?= auto
BIN = .venv/bin

# All that a run writes stays inside the checkout, except the data where the user keeps it elsewhere.
LESSON8_DATA ?= $(CURDIR)/.data
export LESSON8_DATA
export IPYTHONDIR = $(CURDIR)/.cache/ipython
export MPLCONFIGDIR = $(CURDIR)/.cache/matplotlib
export FASTAI_HOME = $(CURDIR)/.cache/fastai
export npm_config_cache = $(CURDIR)/.cache/npm
export PYTHON CONSTRAINTS

# Two at a time, with one thread each: twice as fast as one after the other. Each in a process of its own:
# what one leaves behind (matplotlib's fonts, say) would change a pixel of what the next one draws.
RUN_EACH = OMP_NUM_THREADS=1 TQDM_DISABLE=1 xargs -n 1 -P 2 $(BIN)/nbdev-test --timing

.PHONY: help setup site docs sheets notebooks same test count check prepare outputs bench upgrade clean FORCE

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## make .venv and install everything into it

.cache:
	@mkdir $@

# A checkout that was moved, or a Python that is gone, leaves a .venv that is of no use.
VENV_FITS := $(shell sh tools/setup.sh fits && echo yes)

.venv/.ready: settings.ini setup.py pyproject.toml constraints.txt $(if $(VENV_FITS),,FORCE) | .cache
	@sh tools/setup.sh
	$(BIN)/python -m pip install $${CONSTRAINTS:+-c "$$CONSTRAINTS"} -e '.[dev]'
	@touch $@

FORCE:

site: setup ## build the docs and serve them on localhost
	$(BIN)/python tools/docs.py --renderer '$(RENDERER)' --serve

docs: setup ## build the docs into _docs, without serving
	$(BIN)/python tools/docs.py --renderer '$(RENDERER)'

sheets: setup ## build the spreadsheets with live formulas, in _sheets
	$(BIN)/python tools/sheets.py _sheets

notebooks: setup ## run a copy of every notebook, in _run (FLAGS=cuda: the cells for a GPU too)
	rm -rf _run && cp -R nbs _run
	ls _run/*.ipynb | $(RUN_EACH) --save --flags '$(FLAGS)'
	$(BIN)/python tools/outputs.py _run

same: notebooks ## run every notebook twice: a second run stores the same outputs
	rm -rf _again && cp -R nbs _again
	ls _again/*.ipynb | $(RUN_EACH) --save --flags '$(FLAGS)'
	$(BIN)/python tools/outputs.py _again
	$(BIN)/python tools/same.py _run _again
	@echo 'Beside what is stored (another kind of processor rounds differently):'
	@$(BIN)/python tools/same.py --warn nbs _run

test: RENDERER = smalldocs
test: notebooks docs ## run every notebook, build the docs, then pytest
	XDG_CACHE_HOME="$$PWD/.cache" XDG_CONFIG_HOME="$$PWD/.cache/config" $(BIN)/pytest

# A page over a limit still lets the ratio be printed.
count: docs ## what each lesson page shows, beside the limits; lines of checks beside lines of ideas
	-$(BIN)/python tools/count.py
	$(BIN)/python tools/ratio.py

check: setup ## lint, layers, drift, private names, length and words of pages, README, workflows; edits nothing
	$(BIN)/ruff check
	$(BIN)/python tools/check.py
	$(BIN)/python tools/ratio.py --max .39 > /dev/null || { $(BIN)/python tools/ratio.py; exit 1; }
	$(BIN)/python tools/readme.py --check
	$(BIN)/python tools/colab.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --no-progress --quiet .github

prepare: setup ## before a commit: export, run what changed with what needs it, hide folded cells, clean, README, check
	$(BIN)/python tools/colab.py
	$(BIN)/nbdev-export
	@changed=$$($(BIN)/python tools/changed.py) && if [ -n "$$changed" ]; then echo "$$changed" | $(RUN_EACH) --save; fi
	$(BIN)/python tools/outputs.py nbs
	$(BIN)/python tools/hide.py
	$(BIN)/nbdev-clean
	$(BIN)/python tools/readme.py
	@$(MAKE) check

outputs: setup ## run every notebook and store its outputs
	$(BIN)/python tools/colab.py
	$(BIN)/nbdev-export
	ls nbs/*.ipynb | $(RUN_EACH) --save
	$(BIN)/python tools/outputs.py nbs
	$(BIN)/python tools/hide.py
	$(BIN)/nbdev-clean
	$(BIN)/python tools/readme.py

bench: .venv-bench/.ready .venv-peers/.ready .venv-lists/.ready ## make benchmarks/results anew, beside the peers
	@set -e; for script in $$(grep -l __main__ benchmarks/*.py | grep -v -e field -e speed -e notebooks -e explorables); do echo "$$script"; .venv-bench/bin/python $$script; done
	$(BIN)/python benchmarks/notebooks.py
	$(BIN)/python tools/docs.py --renderer smalldocs && $(BIN)/python benchmarks/explorables.py
	.venv-peers/bin/python benchmarks/field.py
	.venv-peers/bin/python benchmarks/speed.py
	.venv-lists/bin/python benchmarks/field.py --models LightFM RecTools

.venv-bench/.ready: .venv/.ready
	$(BIN)/python -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install $${CONSTRAINTS:+-c "$$CONSTRAINTS"} -e '.[fastai,fast,scale]'
	@touch $@

.venv-%/.ready: .venv/.ready benchmarks/requirements-%.txt
	$(BIN)/python -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install -e '.[fastai]' -r benchmarks/requirements-$*.txt
	@touch $@

upgrade: ## renew constraints.txt, with the newest of everything in a new .venv
	rm -rf .venv
	$(MAKE) setup CONSTRAINTS=
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --all --exclude pip --exclude-editable | sed -E 's/\+(cpu|cu[0-9]+)$$//; /^(nvidia|cuda|triton)[-_=]/d'; } > .venv/pins
	mv .venv/pins constraints.txt
	@touch .venv/.ready

clean: ## remove what the commands built, but not .venv and what was downloaded
	rm -rf _docs _proc _stage _sheets _run _again build dist .pytest_cache .ruff_cache .hypothesis
	@# .cache/katex is a download of tools/docs.py: offline, the site cannot be built without it
	if [ -d .cache ]; then find .cache -mindepth 1 -maxdepth 1 ! -name katex -exec rm -rf {} +; fi
