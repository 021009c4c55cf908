"""Tests of the systemd unit, on a machine that systemd booted: `make systemd-test`."""
