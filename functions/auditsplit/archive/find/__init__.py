"""Find: search stored events without decoding those that cannot match."""
