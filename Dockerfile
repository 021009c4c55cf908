# The function as a container, with the libraries of all sinks and the metrics: docs/deploy/container.md.
#
#   docker build -t auditsplit .
#   docker run --read-only --tmpfs /tmp -p 8080:8080 -e AUDIT_SINKS=… -e AUDIT_TOKENS=… auditsplit
#
# BASE needs Python 3.11 or newer as python3, with venv. `make image` gives a base made of Debian's packages. The default
# is pinned by its tag. A registry of your own knows its digest: --build-arg BASE=registry.example.com/python@sha256:…
# checkov:skip=CKV_DOCKER_7: BASE has a tag
ARG BASE=docker.io/library/python:3.13-slim-trixie
FROM ${BASE} AS build

COPY locks/run.lock infra/image/requirements.lock /tmp/
RUN python3 -m venv /build \
 && /build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/run.lock \
 && python3 -m venv --without-pip /venv \
 && /build/bin/pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/requirements.lock \
 && find /venv -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE /src/
COPY functions /src/functions
WORKDIR /src
RUN /build/bin/hatchling build -t wheel -d /tmp/dist \
 && /build/bin/pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-deps /tmp/dist/*.whl

FROM ${BASE}

ARG VERSION=0
LABEL org.opencontainers.image.title=auditsplit \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /venv /venv

# Nothing below is written at run time but /tmp, where gunicorn's workers show that they live.
USER 65532:65532
WORKDIR /tmp
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080
EXPOSE 8080
HEALTHCHECK --start-period=10s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=5)"]
ENTRYPOINT ["auditsplit", "serve"]
