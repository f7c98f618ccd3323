"""Model SDKs: what each of them does is measured and kept within the limits."""
