"""auditsplit: Kubernetes audit events from kube-apiserver's webhook into each user's own files.

::

    POST ─▶ serve ─▶ ingest ─▶ decode ─▶ policy ─▶ sinks ─▶ 200
                                                    └─ routing

`serve` checks the sender and the bounds of the body. `ingest` is the use case: `decode` finds the events, the
transforms in `policy` redact them, `routing` names their places, and every sink in `sinks` makes them durable. Only
then the answer is 200. `errors` says who must act when it is not, `deadline` until when. `telemetry` reports it all.

`bootstrap` composes all of it for the entry points ``main.py`` and ``lambda_function.py``, for `cli` and for the tests.
`replay` takes recorded files the same way. `archive` looks at what is stored. `apiserver` is what kube-apiserver is
given: kubeconfigs, flags, policies. `webhook` posts as kube-apiserver posts.

Imports go one way: entry points and `cli` → `serve` → `ingest`, `replay` → `decode`, `policy`, `routing`, `sinks` →
`event`, `errors`.
"""

__version__ = "0.1.0"
"""The version. The wheel, the command line and the release read it here."""
