"""The kubeconfig that kube-apiserver's audit webhook reads: its format, its files and its credentials."""
