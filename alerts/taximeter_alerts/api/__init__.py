"""The HTTP API of the alerts process, and its metrics."""
