"""kube-apiserver's webhook client: how it posts, and what it makes of each answer."""
