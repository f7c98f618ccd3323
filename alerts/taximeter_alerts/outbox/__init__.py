"""Notices on their way: kept, claimed, sent, marked."""
