"""OTLP at the door, HTTP and gRPC: a request in, its answer out, the same outcome for both."""
