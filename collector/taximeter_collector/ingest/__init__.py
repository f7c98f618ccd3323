"""A request body in, rows of `span`, `log_record` and `metric` committed, then the acknowledgement."""
