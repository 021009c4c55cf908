"""What several tests need: servers, senders, event lists."""
