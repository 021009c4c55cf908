"""Which events a sink gets, and how much of each."""
