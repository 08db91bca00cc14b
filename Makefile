# The one vocabulary: people, hooks and CI call these targets and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
B ?= $(notdir $(wildcard blueprints/*))
# Of commands for a single one
ONE = $(if $(filter 1,$(words $(B))),$(B),$(error say which blueprint: make $@ B=cv))
SHIFT ?= none
TARGET ?= cloud
WHERE = --target $(TARGET) $(if $(PLATFORM),--platform $(PLATFORM))
VENV := $(CURDIR)/.venv
# Two processes; tests that share a copied-out folder stay in one.
TWO := --numprocesses 2
# What `make test` runs, and all files of the project, for which its results hold.
PARTS := check unit pipelines containers
FILES = $(wildcard $(shell git ls-files --cached --others --exclude-standard))
HARD := tests/test_hardness.py tests/test_endurance.py
# Found keys are neither tried out nor shown.
SECRETS := --no-validate --no-update-check --quiet --redact
TOOLS := prometheus promtool prometheus-alertmanager amtool wrk
export PATH := $(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := true
export BENTOML_DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PYTHONUNBUFFERED := 1
# Without bytecode each of many processes would compile all that it imports: seconds to half a minute.
unexport PYTHONDONTWRITEBYTECODE
# A workflow's variable that nobody has set is an empty one.
ifeq ($(MLFLOW_TRACKING_URI),)
unexport MLFLOW_TRACKING_URI
endif

.PHONY: help setup storage tools demo repro serve live simulate-drift bench ui retrain promote rollback test test-one unit pipelines containers always changed long \
  hardness image smoke sbom deploy-files backup restore canary shadow promote-cloud rollback-cloud push release-files sign-release release-notes release check secrets vulnerabilities licences lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/.done  ## a virtual environment in .venv with the exact versions of requirements.lock

$(VENV)/.done: requirements.lock pyproject.toml $(wildcard blueprints/*/requirements-sample.txt)
	@python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "python3 is $$(python3 --version); 3.11, 3.12 or 3.13 is needed"; exit 1; }
	test -x $(VENV)/bin/python || python3 -m venv $(VENV) \
	  || { echo "python3 has no venv module; on Debian: apt install python3-venv"; exit 1; }
	test -x $(VENV)/bin/uv || $(VENV)/bin/python -m pip install --quiet "$$(grep ^uv== requirements.lock)"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --requirements requirements.lock
	cat blueprints/*/requirements-sample.txt | $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --requirement -
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@

storage: .venv-storage/.done  ## MLflow and DVC with PostgreSQL and S3, in .venv-storage: docs/storage.md

.venv-storage/.done: requirements-storage.lock | $(VENV)/.done
	test -x .venv-storage/bin/python || python3 -m venv --without-pip .venv-storage
	$(VENV)/bin/uv pip install --quiet --python .venv-storage/bin/python --requirements requirements-storage.lock
	@touch $@

tools:  ## Prometheus, Alertmanager and wrk where they are missing: by apt-get, as root
	@type -P $(TOOLS) >/dev/null && exit; \
	type -P apt-get >/dev/null || { echo "no apt-get here: install $(TOOLS) by other means"; exit 1; }; \
	test "$$(id -u)" = 0 || { echo "installing $(TOOLS) needs root: sudo make tools"; exit 1; }; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y --no-install-recommends prometheus prometheus-alertmanager wrk

demo: setup  ## run every pipeline (B=cv: one) with its defaults and print what it reached
	@set -e; for name in $(B); do (cd blueprints/$$name && dvc repro); done
	@echo; python -m shared.objectives table $(B:%=blueprints/%)

repro: setup  ## dvc repro of one blueprint: make repro B=cv
	cd blueprints/$(ONE) && dvc repro

serve: setup  ## serve a blueprint's exported model on http://127.0.0.1:3000: make serve B=cv
	cd blueprints/$(ONE) && bentoml serve service

live: setup  ## service, monitor, Prometheus and Alertmanager on this machine, with held-out data as traffic: make live B=cv
	cd blueprints/$(ONE) && python -m shared.live run

simulate-drift: setup  ## usual traffic, then a shift, until it is answered: make simulate-drift B=cv SHIFT=darker (none: no alert)
	cd blueprints/$(ONE) && python -m shared.live simulate --shift $(SHIFT)

bench: setup tools  ## requests/s of the service, FastAPI, MLflow's server and the limit, in one run: make bench B=cv
	@set -e; for name in $(B); do printf '\n## %s\n\n' $$name; (cd blueprints/$$name && python bench.py); done

ui: setup  ## MLflow's pages for a blueprint on http://127.0.0.1:5000: make ui B=cv
	cd blueprints/$(ONE) && mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

retrain: setup  ## read the data anew and run what follows from it, with the gate: make retrain B=cv
	cd blueprints/$(ONE) && dvc repro --force --single-item ingest && dvc repro && git --no-pager diff --stat -- .

promote rollback: setup  ## challenger becomes champion; or the former champion comes back: make promote B=cv
	cd blueprints/$(ONE) && python -m shared.tracking $@

image: setup  ## a container image of what was packaged: make image B=cv TARGET=cloud|edge|standalone [PLATFORM=linux/arm64]
	@set -e; for name in $(B); do (cd blueprints/$$name && python -m shared.images build $(WHERE)); done

smoke: setup  ## run an image, locked up, and prove that it answers right and keeps its budgets: make smoke B=cv TARGET=cloud [COUNT=200]
	@set -e; for name in $(B); do (cd blueprints/$$name && python -m shared.smoke run $(WHERE) $(if $(COUNT),--count $(COUNT))); done

sbom: setup  ## what is in an image, Debian's packages and Python's, with licences -> blueprints/*/dist/*.cdx.json: make sbom B=cv TARGET=edge
	@set -e; for name in $(B); do (cd blueprints/$$name && python -m shared.sbom write $(WHERE)); done

deploy-files: setup  ## what runs elsewhere, manifests, an archive or compose.yaml -> blueprints/*/dist/deploy: make deploy-files B=cv TARGET=cloud|edge|standalone
	@set -e; for name in $(B); do (cd blueprints/$$name && python -m shared.deploying write $(WHERE)); done

backup restore: setup  ## of what the standalone stack keeps, restore while it is down: make backup B=cv FILE=cv.tar.gz
	cd blueprints/$(ONE) && python -m shared.volumes $@ $(abspath $(FILE))

canary: setup  ## some requests for what was packaged, in a copy of the manifests: make canary B=cv PLACE=~/cv WEIGHT=10
	cd blueprints/$(ONE) && python -m shared.canary start --place "$(PLACE)" --weight $(or $(WEIGHT),10)

shadow: setup  ## a copy of all requests for what was packaged, whose answers nobody gets: make shadow B=cv PLACE=~/cv
	cd blueprints/$(ONE) && python -m shared.canary shadow --place "$(PLACE)"

promote-cloud: setup  ## the canary gets all requests: make promote-cloud B=cv PLACE=~/cv
	cd blueprints/$(ONE) && python -m shared.canary promote --place "$(PLACE)"

rollback-cloud: setup  ## no canary; without one, the release before: make rollback-cloud B=cv PLACE=~/cv
	cd blueprints/$(ONE) && python -m shared.canary rollback --place "$(PLACE)"

push: setup  ## an image to a registry, after docker login and make sbom: make push B=cv TARGET=edge REGISTRY=ghcr.io/me/here
	@cd blueprints/$(ONE) && python -m shared.publishing push $(WHERE) --registry "$(REGISTRY)"

release-files: setup  ## Bento, edge archive and lists of packages, signed where there is a key -> release/: make release-files B=cv TARGET=edge [KEY=key.pem]
	cd blueprints/$(ONE) && python -m shared.publishing files $(WHERE) --folder $(CURDIR)/release $(if $(KEY),--key "$(abspath $(KEY))")

sign-release:  ## a signature beside each file of release/, by the private key whose text is the variable SIGNING_KEY
	@.ci/sign release/*

release-notes:  ## what CHANGELOG.md says of a version: make --silent release-notes TAG=v0.1.0
	@python3 .ci/notes.py "$(TAG)"

release:  ## a release on GitHub of release/ and notes.md, by gh: make release TAG=v0.1.0
	gh release create "$(TAG)" --verify-tag --title "$(TAG)" --notes-file notes.md release/*

check: setup secrets  ## ruff, mypy on shared, lint of workflows and Dockerfiles, secrets, layout and contract tests
	ruff check .
	ruff format --check .
	mypy
	zizmor --offline --quiet .github
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	check-jsonschema --builtin-schema vendor.renovate renovate.json
	prek validate-config .pre-commit-config.yaml
	hadolint shared/deploy/Dockerfile.*
	pytest -q -m contract

secrets: setup  ## passwords, keys and tokens in the tree or in its history
	git ls-files -z | xargs -0 kingfisher scan $(SECRETS) --git-history none
	kingfisher scan $(SECRETS) "$$(git rev-parse --git-common-dir)"

vulnerabilities: setup  ## known vulnerabilities of what images install; fails where it cannot ask
	python -m shared.vulnerabilities

licences: setup  ## licences of what images ship, held to a list -> docs/licences.md
	python -m shared.licences write docs/licences.md blueprints/*

unit: setup tools  ## the fast tests with the coverage of shared
	pytest -q $(TWO) -m "not contract and not pipeline and not fault and not container and not long" --cov --cov-report=term --durations=40

pipelines: setup tools  ## pipelines at reduced size in copied-out folders, their images, kills and other faults
	pytest -q $(TWO) -m "(pipeline or fault) and not long" --durations=40

containers: setup tools  ## the machinery of images and stacks on a real engine
	pytest -q -m "container and not pipeline" --durations=20

test: $(PARTS:%=.tested/%)  ## everything; a part that passed runs again once a file has changed, or with AGAIN=1
	@echo "passed: $(PARTS)"

.tested/%: $(FILES) .tested/files $(if $(AGAIN),always)
	@touch $@.begun
	$(MAKE) $*
	@mv $@.begun $@

.tested/files: always  # written anew where a file came or went
	@mkdir -p $(@D); echo $(FILES) | cmp -s - $@ || echo $(FILES) > $@

always:

test-one: setup  ## the tests of one blueprint: make test-one B=cv
	pytest -q $(TWO) -m "not long and not container" $(B:%=tests/%)

changed:  ## the blueprints that differ since a commit, as a workflow takes them: make --silent changed SINCE=origin/main
	@SINCE="$(SINCE)" python3 .ci/changed.py

long: setup  ## what takes too long for every day, before a release: documents to records, copied out and attacked
	pytest -q -m long $(HARD:%=--ignore %)

hardness: setup tools  ## every service with its real model under attack, overload and kills; after make demo: make hardness B=cv
	pytest -q -rP $(HARD) -k "$(subst $(eval ) , or ,$(B))"

lock: setup  ## resolve requirements.lock anew from requirements-dev.txt and every blueprint, and the hashes of what images install
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --output-file requirements.lock requirements-dev.txt blueprints/*/requirements{,-serve}.txt
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --output-file requirements-storage.lock requirements-storage.txt
	python -m shared.hashes --constraints requirements.lock blueprints/*/requirements-{serve,edge}.txt

clean:  ## remove environments, caches and what pipelines made, blueprints/*/data among it: keep your own data elsewhere
	rm -rf .venv .venv-storage .tested .mypy_cache .ruff_cache .pytest_cache *.egg-info
	for folder in blueprints/*; do rm -rf $$folder/{data,models,export,plots,build,dist,checkpoint,simulated,.base,.sample}; done
	find . -name __pycache__ -prune -exec rm -rf {} +
