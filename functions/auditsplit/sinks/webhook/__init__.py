"""The webhook sink: posts batches to a downstream as kube-apiserver posts them to its audit webhook."""
