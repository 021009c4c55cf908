"""kube-apiserver's webhook client: its kubeconfig, how it posts, and what it makes of each answer."""
