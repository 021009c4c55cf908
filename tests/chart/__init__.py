"""Tests of the Helm chart: `make chart` builds helm first."""
