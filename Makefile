PYTHON ?= python3
PORT ?= 8888
BIN := .venv/bin

SERVERS := .cache/servers
FAKE_GCS_SERVER := 1.56.0
AZURITE := 3.37.0
KUBERNETES := $(shell sed -n 's/^require k8s.io.kubernetes v//p' tests/e2e/programs/kube-apiserver/go.mod)
ETCD := $(shell sed -n 's/^require go.etcd.io.etcd.server.v3 v//p' tests/e2e/programs/etcd/go.mod)
GO_BUILD := CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -mod=readonly -trimpath -buildvcs=false
VERSION_OF := -X k8s.io/component-base/version

.PHONY: run test servers e2e check lock upload bench clean

run: .venv/ready ## serve on 127.0.0.1:8888, files below ./var/log
	$(BIN)/functions-framework --source functions/main.py --target ingest --host 127.0.0.1 --port $(PORT)

test: .venv/ready servers ## all tests, with the coverage gate
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

servers: $(SERVERS)/fake-gcs-server-$(FAKE_GCS_SERVER) $(SERVERS)/azurite-$(AZURITE) ## the stores' server programs that no Python package has

e2e: .venv/ready $(SERVERS)/kube-apiserver-$(KUBERNETES) $(SERVERS)/etcd-$(ETCD) .cache/bin/buffered ## the whole way with a real kube-apiserver; its first build takes 7 to 20 minutes
	$(BIN)/pytest $(or $(TESTS),tests/e2e)

check: .venv/ready ## lint, format, types, and that the upload's requirements are the lock's
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready ## every figure in benchmarks/README.md, measured here
	$(BIN)/python benchmarks/split_kernel.py
	$(BIN)/python benchmarks/hostile.py
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/objects.py

lock: .venv/ready ## resolve the dependencies anew; UPGRADE=--upgrade takes the newest
	$(BIN)/uv pip compile -q pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header $(UPGRADE) -o requirements.lock
	$(MAKE) upload

upload: .venv/ready ## functions/requirements.txt from the lock; STORES="gcs zstd" adds what those stores need
	$(BIN)/uv pip compile -q pyproject.toml --extra server $(STORES:%=--extra %) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -c requirements.lock -o functions/requirements.txt

clean: ## remove what the other targets made, but not ./var
	rm -rf .venv .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("auditsplit needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(SERVERS)/fake-gcs-server-$(FAKE_GCS_SERVER):
	GOBIN=$(CURDIR)/.cache/bin go install github.com/fsouza/fake-gcs-server@v$(FAKE_GCS_SERVER)
	mkdir -p $(@D) && touch $@

.cache/bin/buffered: $(wildcard tests/e2e/buffered/*) # kube-apiserver's own audit backends, for tests/e2e/test_simulation.py
	cd tests/e2e/buffered && CGO_ENABLED=0 go build -mod=readonly -trimpath -o $(CURDIR)/$@ .

$(SERVERS)/azurite-$(AZURITE):
	npm install --prefix .cache/azurite --no-save --no-fund --no-audit --ignore-scripts --loglevel=error azurite@$(AZURITE)
	mkdir -p $(@D) && touch $@

# Kubernetes pins its staging modules by replacing them, which no other module inherits; so go.mod replaces them again.
$(SERVERS)/kube-apiserver-$(KUBERNETES):
	cd tests/e2e/programs/kube-apiserver && $(GO_BUILD) -o $(CURDIR)/.cache/bin/kube-apiserver -ldflags "-s -w \
	  $(VERSION_OF).gitVersion=v$(KUBERNETES) $(VERSION_OF).gitMajor=1 $(VERSION_OF).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES)))" \
	  k8s.io/kubernetes/cmd/kube-apiserver
	mkdir -p $(@D) && touch $@

$(SERVERS)/etcd-$(ETCD):
	cd tests/e2e/programs/etcd && $(GO_BUILD) -o $(CURDIR)/.cache/bin/etcd -ldflags "-s -w" go.etcd.io/etcd/server/v3
	mkdir -p $(@D) && touch $@
