"""The file sink: a folder on this machine, with a file for each key, for any number of threads and processes."""
