"""What is told of the work: a log line for every request, and figures for whoever watches.

`observation` gathers what became of a request along its way, `logs` writes it as one line in the platform's own format,
`metrics` counts it for Prometheus. Nothing of an event's body, no user's name and no token is in any of them.
"""
