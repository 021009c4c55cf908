"""What several commands share. None of these modules is a command."""
