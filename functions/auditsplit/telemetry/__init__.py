"""What is reported of the work: a log line for each request, metrics, traces.

`figures` gathers what became of a request, `logs` writes it as one line in the platform's own format, `metrics` counts
it for Prometheus. None of them has an event's body, a user's name or a token.
"""
