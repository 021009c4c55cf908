"""Which place an event belongs to."""
