"""Read JSON and YAML as kube-apiserver does, with the line and column of each value."""
