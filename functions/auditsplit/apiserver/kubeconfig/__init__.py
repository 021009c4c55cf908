"""Kubeconfigs for apiservers: made, for one cluster or many, and compared with the settings."""
