"""What alerts.yaml says: text in, rules and receivers out."""
