PYTHON ?= python3
PORT ?= 8888
HOLD ?= 600
BODIES ?= 50000
LAMBDA_PYTHON ?= 3.13
BIN := .venv/bin
RUN := .venv-run
SINKS ?=
DIST ?= dist
PARALLEL := -n auto --dist loadfile
RELEASE_PARTS ?= bundle image chart sbom
EXTRAS := azure elasticsearch gcs kubernetes metrics-api s3 ship zstd
LOCKS := run $(EXTRAS)
PLATFORMS := x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' functions/auditsplit/__init__.py)

SERVERS := .cache/servers
FAKE_GCS_SERVER := 1.56.0
AZURITE := 3.37.0
KUBERNETES := $(shell sed -n 's/^require k8s.io.kubernetes v//p' tests/e2e/programs/kubernetes/go.mod)
KUBEADM := $(shell sed -n 's/^require k8s.io.kubernetes v//p' tests/e2e/programs/kubeadm/go.mod)
METRICS_SERVER := $(shell sed -n 's/^require sigs.k8s.io.metrics-server v//p' tests/metrics_live/programs/metrics-server/go.mod)
CONTAINERD_MODULE := github.com/containerd/containerd/v2
CONTAINERD := $(shell sed -n 's:^require $(CONTAINERD_MODULE) v::p' tests/metrics_live/programs/containerd/go.mod)
KWOK := $(shell sed -n 's/^require sigs.k8s.io.kwok v//p' tests/metrics_live/programs/kwok/go.mod)
ETCD := $(shell sed -n 's/^require go.etcd.io.etcd.server.v3 v//p' tests/e2e/programs/etcd/go.mod)
GO_BUILD := CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -mod=readonly -trimpath -buildvcs=false
VERSION_OF := -X k8s.io/component-base/version
PROMETHEUS := $(shell sed -n 's:^.github.com.prometheus.prometheus v\([^ ]*\).*:\1:p' tests/live/prometheus/go.mod)
ELASTICSEARCH := $(shell sed -n 's:.*<elasticsearch.version>\(.*\)</.*:\1:p' tests/live/elasticsearch/pom.xml)
SCANNERS := .cache/scanners
SITE := .cache/site
HELM := $(shell sed -n 's:^.helm.sh.helm.v4 v\([^ ]*\).*:\1:p' tests/e2e/programs/helm/go.mod)
PROMETHEUS_OPERATOR := $(shell sed -n 's:^require github.com.prometheus-operator.prometheus-operator v::p' tests/e2e/programs/prometheus-operator/go.mod)
CADDY := $(shell sed -n 's:^.github.com.caddyserver.caddy.v2 v\([^ ]*\).*:\1:p' tests/e2e/programs/caddy/go.mod)
BASE := $(shell sha256sum infra/image/base.sh | cut -c 1-12)# of the cached bases: a checkout's times say nothing
METRICS_PROGRAMS := $(addprefix $(SERVERS)/,kube-apiserver-$(KUBERNETES) kubelet-$(KUBERNETES) kube-controller-manager-$(KUBERNETES) kube-scheduler-$(KUBERNETES) etcd-$(ETCD) \
  kubeadm-$(KUBEADM) metrics-server-$(METRICS_SERVER) containerd-$(CONTAINERD))
CHART := $(SERVERS)/helm-$(HELM) $(SERVERS)/prometheus-operator-$(PROMETHEUS_OPERATOR)
E2E_PROGRAMS := $(addprefix $(SERVERS)/,kube-apiserver-$(KUBERNETES) etcd-$(ETCD) kubeadm-$(KUBEADM) caddy-$(CADDY)) $(CHART) \
  .cache/bin/buffered .cache/bin/installers

.PHONY: run quick site test test-all test-servers wheels release faults fuzz infra scan image image-test sbom chart chart-test systemd-test e2e metrics-test programs servers check docs audit lock upload bundle bench bench-metrics load clean

run: $(RUN)/ready$(subst $() ,,$(addprefix -,$(sort $(SINKS)))) ## serve on 127.0.0.1:8888, files below ./var/log; SINKS="s3 zstd" also installs what these sinks need
	$(RUN)/bin/auditsplit serve --port $(PORT)

quick: .venv/ready ## the tests that start no server, in under a minute
	$(BIN)/pytest $(PARALLEL) -m "not slow and not servers" --ignore=tests/live $(or $(TESTS),tests)

test: .venv/ready ## the tests whose servers PyPI has: needs Python and make only
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) -m "not servers" $(TESTS)

test-servers: .venv/ready servers ## the tests of servers that need Go, Node.js or Java. Run it after make test: the coverage gate counts both
	$(BIN)/coverage run -m pytest -m servers $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-all: ## make test and make test-servers
	$(MAKE) test
	$(MAKE) test-servers

wheels: .venv/ready ## prove that every locked package for serving has a wheel for Linux and macOS, without installing any
	for platform in $(PLATFORMS); do \
	  $(BIN)/uv pip install --dry-run --quiet --only-binary :all: --python-platform $$platform --python-version 3.11 \
	    --target .cache/wheels --require-hashes $(LOCKS:%=-r locks/%.lock) || exit; \
	done
	# cryptography, which azure and gcs require, has no wheel for Macs with Intel processors.
	$(BIN)/uv pip install --dry-run --quiet --only-binary :all: --python-platform x86_64-apple-darwin --python-version 3.11 \
	  --target .cache/wheels --require-hashes $(patsubst %,-r locks/%.lock,$(filter-out azure gcs,$(LOCKS)))

faults: .venv/ready ## the matrix of docs/proofs/faults.md, every fault done for real; FAULT=disk takes those with that word
	PYTHONPATH=tests $(BIN)/python -m faults.matrix $(FAULT)

fuzz: .venv/ready .cache/bin/fuzz-judge ## 50,000 bodies through each decode path and Go's encoding/json, figures into docs/proofs/fuzz.md; BODIES=2000 for a quick look
	PYTHONPATH=tests $(BIN)/python -m fuzz.run --bodies $(BODIES) $(if $(filter 50000,$(BODIES)),--report docs/proofs/fuzz.md)

infra: .venv/ready servers scan ## the Terraform modules: format, scan, test, apply; TF_PLUGIN_DIR is a folder of providers where Terraform's registry is out of reach
	terraform version >/dev/null || { echo "make infra needs Terraform 1.9 or newer on the PATH: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }
	terraform fmt -check -diff -recursive infra
	$(BIN)/pytest tests/deploy

scan: $(SCANNERS)/ready ## the scanners over Terraform, Dockerfile, Kubernetes manifest and chart
	$(SCANNERS)/bin/hadolint Dockerfile
	$(SCANNERS)/bin/kubernetes-validate --strict infra/kubernetes/*.yaml
	$(SCANNERS)/bin/checkov --quiet --compact --skip-download --framework dockerfile kubernetes --file Dockerfile infra/kubernetes/*.yaml infra/helm/golden/central.yaml
	$(SCANNERS)/bin/checkov --quiet --compact --skip-download --framework terraform --directory infra

image: .cache/image/base-$(BASE).tar ## the container image auditsplit:VERSION, by buildah as root, on a base of Debian's packages
	infra/image/build.sh $<

image-test: .venv/ready image sbom ## the image in runc: user, read-only root, health, SIGTERM; and its SBOM
	$(BIN)/pytest $(or $(TESTS),tests/image)

sbom: .venv/ready image ## dist/auditsplit.cdx.json: what is in the image, as CycloneDX
	$(BIN)/python infra/image/sbom.py --into $(DIST)/auditsplit.cdx.json

chart: .venv/ready $(CHART) ## dist/auditsplit-VERSION.tgz, the Helm chart; its golden files and infra/kubernetes/auditsplit.yaml are rendered again
	$(BIN)/python infra/helm/render.py
	.cache/bin/helm package infra/helm/auditsplit --destination $(DIST)

chart-test: .venv/ready $(CHART) $(SERVERS)/kube-apiserver-$(KUBERNETES) $(SERVERS)/etcd-$(ETCD) ## the Helm chart: golden files, lint, values, and releases in a real kube-apiserver
	$(BIN)/pytest $(or $(TESTS),tests/chart tests/e2e/test_chart.py)

systemd-test: .venv/ready .cache/image/systemd-$(BASE).tar ## the unit and its page, on a machine that systemd boots in runc
	$(BIN)/pytest $(or $(TESTS),tests/systemd)

programs: $(E2E_PROGRAMS) $(METRICS_PROGRAMS) ## the programs of make e2e and make metrics-test, which are Go's and take up to 20 minutes at first

servers: $(SERVERS)/fake-gcs-server-$(FAKE_GCS_SERVER) $(SERVERS)/azurite-$(AZURITE) $(SERVERS)/elasticsearch-$(ELASTICSEARCH) $(SERVERS)/prometheus-$(PROMETHEUS) .cache/bin/policy-judge .cache/bin/policy-enforced .cache/bin/policy-auditsink .cache/bin/fuzz-judge .cache/bin/find-judge .cache/bin/benthos ## the programs of the tests that no Python package has

e2e: .venv/ready $(SERVERS)/prometheus-$(PROMETHEUS) $(E2E_PROGRAMS) ## the whole way with a real kube-apiserver; its first build takes 7 to 20 minutes
	$(BIN)/pytest $(or $(TESTS),tests/e2e)

metrics-test: .venv/ready $(METRICS_PROGRAMS) image ## the Metrics API beside a real metrics-server, and the image in pods, on a real kubelet, as root; its first build takes 5 minutes more than that of make e2e
	$(BIN)/pytest $(or $(TESTS),tests/metrics_live)

check: .venv/ready ## lint, format, types, and that the upload's requirements are the lock's
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/ready ## the generated tables in README.md and docs/, written again
	$(BIN)/python docs/generate.py

site: $(SITE)/ready ## dist/site/: all pages as a site. A link that leads nowhere ends the build
	$(SITE)/bin/python docs/site.py

audit: .venv/ready ## known vulnerabilities of the locked packages, as far as the registry tells
	$(BIN)/python .ci/audit.py

bench: .venv/ready servers ## every figure in benchmarks/README.md, measured here
	$(BIN)/python benchmarks/split_kernel.py
	$(BIN)/python benchmarks/policy.py
	$(BIN)/python benchmarks/hostile.py
	$(BIN)/python benchmarks/server.py
	$(BIN)/python benchmarks/parts.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/objects.py
	$(BIN)/python benchmarks/compact.py
	$(BIN)/python benchmarks/elastic.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/ship.py
	$(BIN)/python benchmarks/find.py
	$(BIN)/python benchmarks/forward.py

bench-metrics: .venv/ready $(METRICS_PROGRAMS) $(SERVERS)/kwok-$(KWOK) ## the Metrics API of 1,000 nodes and 30,000 pods, as root: the figures of benchmarks/metrics_api.py in benchmarks/README.md
	$(BIN)/python benchmarks/metrics_api.py

load: .venv/ready .cache/bin/buffered ## the highest rate held, twice it, and blocking mode, into docs/proofs/load.md; HOLD=60 for a quick look
	$(BIN)/python benchmarks/load.py --hold $(HOLD) $(if $(filter 600,$(HOLD)),--report docs/proofs/load.md)

lock: .venv/ready ## resolve the dependencies anew; UPGRADE=--upgrade takes the newest
	$(BIN)/uv pip compile -q pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header $(UPGRADE) -o requirements.lock
	$(BIN)/uv pip compile -q infra/scanners.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate $(UPGRADE) -o infra/scanners.lock
	$(BIN)/uv pip compile -q docs/site.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate $(UPGRADE) -o docs/site.lock
	for lock in $(LOCKS); do \
	  if [ $$lock = run ]; then chosen="--extra serve --extra metrics --group build"; else chosen="--extra $$lock"; fi; \
	  $(BIN)/uv pip compile -q pyproject.toml $$chosen --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate -c requirements.lock -o locks/$$lock.lock || exit; \
	done
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -c requirements.lock -o infra/image/requirements.lock
	$(MAKE) upload

upload: .venv/ready ## functions/requirements.txt from the lock; STORES="gcs zstd" adds what those stores need
	$(BIN)/uv pip compile -q pyproject.toml --extra serve $(STORES:%=--extra %) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -c requirements.lock -o functions/requirements.txt

bundle: .venv/ready ## dist/: zips for Lambda and Cloud Functions; STORES="s3 zstd", and COMPILER=python3.13 for bytecode
	$(BIN)/python infra/bundle.py lambda-x86_64 --python $(LAMBDA_PYTHON) $(COMPILER:%=--compiler %) $(addprefix --extra ,$(or $(STORES),s3)) --into $(DIST)
	$(BIN)/python infra/bundle.py lambda-arm64 --python $(LAMBDA_PYTHON) $(COMPILER:%=--compiler %) $(addprefix --extra ,$(or $(STORES),s3)) --into $(DIST)
	$(BIN)/python infra/bundle.py functions $(addprefix --extra ,$(or $(STORES),gcs)) --into $(DIST)

# The stamp $@ names the sinks, so that another choice of SINKS installs what is missing.
define RUN_INSTALL
	@$(PYTHON) -c 'import sys; sys.exit("auditsplit needs Python 3.11 or newer: make run PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(RUN) what serving needs $(if $(SINKS),(with $(SINKS)) )- once, about 20 s"
	@$(PYTHON) -m venv $(RUN)
	$(RUN)/bin/pip install --disable-pip-version-check --no-compile --require-hashes -r locks/run.lock $(SINKS:%=-r locks/%.lock)
	@$(RUN)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

# The time of the last commit is in the archives, so the same commit makes the same bytes.
release: .venv/ready ## dist/: wheel, sdist, zips, and image, chart and SBOM where their targets exist, with SHA256SUMS
	rm -rf $(DIST)
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build -d $(DIST)
	for part in $(RELEASE_PARTS); do if grep -q "^$$part:" Makefile; then $(MAKE) $$part || exit; fi; done
	cd $(DIST) && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | sed 's:^\./::' | xargs sha256sum > SHA256SUMS

clean: ## remove what the other targets made, but not ./var
	rm -rf .venv $(RUN) .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(RUN)/ready%: $(LOCKS:%=locks/%.lock) pyproject.toml
	$(if $(filter-out $(EXTRAS),$(SINKS)),$(error SINKS: must be some of $(EXTRAS), not '$(filter-out $(EXTRAS),$(SINKS))'))
	$(RUN_INSTALL)

$(RUN)/ready: locks/run.lock pyproject.toml
	$(RUN_INSTALL)

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("auditsplit needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(SCANNERS)/ready: infra/scanners.lock | .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SCANNERS)
	$(BIN)/uv pip install --quiet --python $(SCANNERS)/bin/python --require-hashes -r infra/scanners.lock
	touch $@

$(SITE)/ready: docs/site.lock | .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SITE)
	$(BIN)/uv pip install --quiet --python $(SITE)/bin/python --require-hashes -r docs/site.lock
	touch $@

$(SERVERS)/fake-gcs-server-$(FAKE_GCS_SERVER):
	GOBIN=$(CURDIR)/.cache/bin go install github.com/fsouza/fake-gcs-server@v$(FAKE_GCS_SERVER)
	mkdir -p $(@D) && touch $@

.cache/bin/buffered: $(wildcard tests/e2e/buffered/*) # kube-apiserver's own audit backends, for tests/e2e/test_simulation.py
	cd tests/e2e/buffered && CGO_ENABLED=0 go build -mod=readonly -trimpath -o $(CURDIR)/$@ .

# kube-apiserver's own code for audit policies, for tests/live/test_policy_*.py: of today, the last that applied a policy to an event, and the last that had AuditSinks.
.cache/bin/policy-judge: $(wildcard tests/policy/judge/*)
.cache/bin/policy-enforced: $(wildcard tests/policy/enforced/*)
.cache/bin/policy-auditsink: $(wildcard tests/policy/auditsink/*)
.cache/bin/policy-judge .cache/bin/policy-enforced .cache/bin/policy-auditsink: .cache/bin/policy-%:
	cd tests/policy/$* && $(GO_BUILD) -o $(CURDIR)/$@ .

.cache/bin/installers: $(wildcard tests/e2e/installers/*) # the types of kOps, kind and Talos, for tests/e2e/test_installers.py
	cd tests/e2e/installers && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ .

.cache/bin/benthos: $(wildcard tests/live/benthos/*) # a consumer of what the webhook sink posts, for tests/live/test_forward.py
	cd tests/live/benthos && $(GO_BUILD) -ldflags "-s -w" -o $(CURDIR)/$@ .

.cache/bin/fuzz-judge: $(wildcard tests/fuzz/judge/*) # Go's encoding/json, with which the fuzzer compares decoding
	cd tests/fuzz/judge && $(GO_BUILD) -o $(CURDIR)/$@ .

.cache/bin/find-judge: $(wildcard tests/find/judge/*) # the types of audit.k8s.io/v1, with which the tests compare what find finds
	cd tests/find/judge && $(GO_BUILD) -o $(CURDIR)/$@ .

$(SERVERS)/azurite-$(AZURITE):
	npm install --prefix .cache/azurite --no-save --no-fund --no-audit --ignore-scripts --loglevel=error azurite@$(AZURITE)
	mkdir -p $(@D) && touch $@

# Kubernetes pins its staging modules by replacing them, which no other module inherits; so go.mod replaces them again.
$(SERVERS)/kube-apiserver-$(KUBERNETES) $(SERVERS)/kubelet-$(KUBERNETES) $(SERVERS)/kube-controller-manager-$(KUBERNETES) $(SERVERS)/kube-scheduler-$(KUBERNETES): $(SERVERS)/%-$(KUBERNETES):
	cd tests/e2e/programs/kubernetes && $(GO_BUILD) -o $(CURDIR)/.cache/bin/ -ldflags "-s -w \
	  $(VERSION_OF).gitVersion=v$(KUBERNETES) $(VERSION_OF).gitMajor=1 $(VERSION_OF).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES)))" \
	  k8s.io/kubernetes/cmd/$*
	mkdir -p $(@D) && touch $@

# A minor version before kube-apiserver's: the last that reads kubeadm.k8s.io/v1beta3, and it reads v1beta4 too.
$(SERVERS)/kubeadm-$(KUBEADM):
	cd tests/e2e/programs/kubeadm && $(GO_BUILD) -o $(CURDIR)/.cache/bin/ -ldflags "-s -w \
	  $(VERSION_OF).gitVersion=v$(KUBEADM) $(VERSION_OF).gitMajor=1 $(VERSION_OF).gitMinor=$(word 2,$(subst ., ,$(KUBEADM)))" \
	  k8s.io/kubernetes/cmd/kubeadm k8s.io/kubernetes/cmd/kubectl
	mkdir -p $(@D) && touch $@

$(SERVERS)/etcd-$(ETCD):
	cd tests/e2e/programs/etcd && $(GO_BUILD) -o $(CURDIR)/.cache/bin/etcd -ldflags "-s -w" go.etcd.io/etcd/server/v3
	mkdir -p $(@D) && touch $@

.cache/image/base-$(BASE).tar:
	infra/image/base.sh $@

.cache/image/systemd-$(BASE).tar: # the machine of the unit's test
	infra/image/base.sh $@ ,systemd,systemd-sysv,curl

$(SERVERS)/helm-$(HELM):
	cd tests/e2e/programs/helm && $(GO_BUILD) -o $(CURDIR)/.cache/bin/helm -ldflags "-s -w" helm.sh/helm/v4/cmd/helm
	mkdir -p $(@D) && touch $@

# Its definitions of ServiceMonitor and PrometheusRule, out of the module. Nothing is built.
$(SERVERS)/prometheus-operator-$(PROMETHEUS_OPERATOR):
	cd tests/e2e/programs/prometheus-operator && GOWORK=off GOFLAGS= go mod download github.com/prometheus-operator/prometheus-operator
	mkdir -p $(@D) .cache/prometheus-operator
	cp $$(go env GOMODCACHE)/github.com/prometheus-operator/prometheus-operator@v$(PROMETHEUS_OPERATOR)/example/prometheus-operator-crd/*.yaml .cache/prometheus-operator/
	chmod 644 .cache/prometheus-operator/*.yaml && touch $@

# Its own go.mod alone decides which Kubernetes libraries it has, as in its release.
$(SERVERS)/metrics-server-$(METRICS_SERVER):
	cd tests/metrics_live/programs/metrics-server && $(GO_BUILD) -o $(CURDIR)/.cache/bin/ -ldflags "-s -w \
	  $(VERSION_OF).gitVersion=v$(METRICS_SERVER) -X sigs.k8s.io/metrics-server/pkg/version.gitVersion=v$(METRICS_SERVER)" \
	  sigs.k8s.io/metrics-server/cmd/metrics-server
	mkdir -p $(@D) && touch $@

$(SERVERS)/containerd-$(CONTAINERD):
	cd tests/metrics_live/programs/containerd && $(GO_BUILD) -tags "no_btrfs no_zfs" -o $(CURDIR)/.cache/bin/ \
	  -ldflags "-s -w -X $(CONTAINERD_MODULE)/version.Version=v$(CONTAINERD)" \
	  $(addprefix $(CONTAINERD_MODULE)/cmd/,containerd ctr containerd-shim-runc-v2)
	mkdir -p $(@D) && touch $@

# Simulated nodes, for benchmarks/metrics_api.py alone, with kwok's own stages of nodes and pods and its own figures.
$(SERVERS)/kwok-$(KWOK):
	cd tests/metrics_live/programs/kwok && $(GO_BUILD) -o $(CURDIR)/.cache/bin/kwok -ldflags "-s -w" sigs.k8s.io/kwok/cmd/kwok
	folder=$$(go env GOMODCACHE)/sigs.k8s.io/kwok@v$(KWOK)/kustomize && for file in \
	  $$folder/stage/node/fast/node-initialize.yaml $$folder/stage/node/heartbeat-with-lease/node-*.yaml $$folder/stage/pod/fast/pod-*.yaml \
	  $$folder/metrics/usage/usage-from-annotation.yaml $$folder/metrics/resource/metrics-resource.yaml; do echo ---; cat $$file; done > .cache/bin/kwok.yaml
	mkdir -p $(@D) && touch $@

$(SERVERS)/caddy-$(CADDY):
	cd tests/e2e/programs/caddy && $(GO_BUILD) -o $(CURDIR)/.cache/bin/caddy -ldflags "-s -w" \
	  github.com/caddyserver/caddy/v2/cmd/caddy
	mkdir -p $(@D) && touch $@

# Without its web pages and its ways to find targets at clouds: what the tests ask is its API and promtool.
$(SERVERS)/prometheus-$(PROMETHEUS):
	cd tests/live/prometheus && $(GO_BUILD) -tags remove_all_sd -o $(CURDIR)/.cache/bin/ -ldflags "-s -w" \
	  github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
	mkdir -p $(@D) && touch $@

$(SERVERS)/elasticsearch-$(ELASTICSEARCH): $(wildcard tests/live/elasticsearch/* tests/live/elasticsearch/*/*.java) | .venv/ready
	rm -rf .cache/elasticsearch
	mvn --strict-checksums --batch-mode --quiet --file tests/live/elasticsearch/pom.xml package
	PYTHONPATH=tests $(BIN)/python -m live.elasticsearch.assemble
	PYTHONPATH=tests $(BIN)/python -m live.elasticsearch.warm
	mkdir -p $(@D) && touch $@
