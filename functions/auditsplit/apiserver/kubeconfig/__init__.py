"""The kubeconfig that kube-apiserver's audit webhook reads: its schema, its files and its credentials."""
