"""Arithmetic of a model and peak throughput of the hardware."""
