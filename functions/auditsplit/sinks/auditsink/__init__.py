"""AuditSinks: webhook sinks that manifests of ``auditregistration.k8s.io/v1alpha1`` describe.

Kubernetes 1.13 to 1.18 had this API for audit webhooks that are configured while kube-apiserver runs.
"""
