"""The device mesh and the sharding rules of parameters and activations."""
