"""Findings in, alerts and incidents out; what is to be told goes to the outbox."""
