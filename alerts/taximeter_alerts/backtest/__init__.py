"""What the rules would have sent in the past."""
