"""kube-apiserver's audit webhook flags for a load, and a simulation of the events that are lost with them."""
