"""Budgets of the whole fleet: which are used up, asked of the collector; the calls that they stop."""
