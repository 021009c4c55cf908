"""Routing: the place that an event belongs to."""
