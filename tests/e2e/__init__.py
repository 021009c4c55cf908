"""The whole way: a real kube-apiserver, its webhook, the function over TLS, and the apiserver's own log beside it."""
