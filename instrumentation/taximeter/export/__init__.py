"""The way out: ended spans to the collector, without a wait or a loss that nobody counts."""
