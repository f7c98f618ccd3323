"""Spans in; calls, tool calls, runs, requests and minutes out, and the check that they are what the spans say."""
