"""Google's Scenic, both ways: our model in its trainer, its video models in ours. Optional (docs/scenic.md)."""
