"""What the simulated requests will do: pure plans from a seed, with every token decided."""
