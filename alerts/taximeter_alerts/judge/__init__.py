"""Rules and windows of traffic in, findings and their causes out."""
