"""taximeter: the meter that runs on every agent request."""
