"""The kubeconfig of an audit webhook: its format, its files, and the credentials in it."""
