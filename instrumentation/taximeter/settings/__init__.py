"""What a user may set, and what the parts must know of each other."""
