"""auditsplit: Kubernetes audit events from kube-apiserver's webhook into every user's own place.

::

    POST ─▶ http ─▶ eventlist ─▶ routing ─▶ sinks ─▶ 200

`http` checks the sender and the body's bounds, `eventlist` finds the events, `redaction` cuts out what no store may
have, `routing` finds their places, `fanout` hands them to every store in `sinks`, and only when all of it is durable
the answer is 200. `errors` says who must act when it is not, `deadline` until when, `telemetry` tells of it. Entry
points (``main.py``, ``lambda_function.py`` by `lambda_events`, `cli`) translate, nothing else; `worker` is how gunicorn
serves ``main.py``. `sender` is the cluster's side: kubeconfigs, flags, policies.
"""
