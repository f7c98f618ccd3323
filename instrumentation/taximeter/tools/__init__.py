"""Tool calls: a span an attempt, and what keeps a failing or slow tool from taking the run along."""
