"""Requests, agent runs and sessions: what they may use, what they have used, how they end."""
