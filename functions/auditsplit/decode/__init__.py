"""Decoding: from the bytes of a request to single audit events."""
