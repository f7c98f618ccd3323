"""The simulated agents: ordinary agent code on the real SDKs, measured by the real shim."""
