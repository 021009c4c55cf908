# The function as a container, for Cloud Run, Knative or any cluster; the upload is the same folder as everywhere.
#
#   make upload STORES=s3        # names what the store needs in functions/requirements.txt
#   docker build -t auditsplit .
#   docker run --read-only --tmpfs /tmp -p 8080:8080 -e AUDIT_SINKS=… -e AUDIT_TOKENS=… auditsplit
#
# The base is pinned by its tag; pin it by digest in a registry of your own, which knows one.
FROM python:3.13-slim-trixie AS build

COPY functions/requirements.txt /tmp/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM python:3.13-slim-trixie

COPY --from=build /venv /venv
COPY functions /app
RUN /venv/bin/python -m compileall -q /app

# Nothing below is written at run time but /tmp, where gunicorn's workers show that they live.
USER 65532:65532
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080
EXPOSE 8080
HEALTHCHECK --start-period=10s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=5)"]
ENTRYPOINT ["functions-framework", "--source", "/app/main.py", "--target", "ingest"]
