"""Read back what is stored."""
