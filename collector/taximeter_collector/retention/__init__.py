"""Old data leaves: a day's content, then its file, then old roll-ups."""
