"""kube-apiserver's webhook client: what it posts, and what it makes of each answer."""
