"""OTLP in, DuckDB in the middle, read API out."""
