"""The cluster's side: what kube-apiserver is given so that it sends its audit events here.

Nothing of it is imported where events are received.
"""
