"""The file store: a folder on this machine, a file a key, written by any number of threads and processes at once."""
