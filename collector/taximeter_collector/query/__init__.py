"""The read API: one SQL statement in, checked to be a small read, its rows out."""
