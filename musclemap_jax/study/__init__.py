"""Studies: a grid of configurations and seeds, run, collected and compared."""
