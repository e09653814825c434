"""Memory, FLOPs and collectives of a training step on a TPU topology, without the TPU."""
