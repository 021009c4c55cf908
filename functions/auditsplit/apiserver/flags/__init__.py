"""kube-apiserver's audit webhook flags for a given load, and a simulation of what they lose."""
