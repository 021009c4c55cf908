"""The cluster's side: what kube-apiserver needs to send its audit events here."""
