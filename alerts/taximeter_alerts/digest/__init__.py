"""The message about each day or week."""
