"""What kube-apiserver is given so that it sends its audit events to the function.

The receiver does not import this package.
"""
