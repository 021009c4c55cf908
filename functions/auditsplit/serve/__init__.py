"""The HTTP side: requests, responses, and the servers that bring them."""
