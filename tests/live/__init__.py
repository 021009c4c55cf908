"""Tests against the real server programs of the stores."""
