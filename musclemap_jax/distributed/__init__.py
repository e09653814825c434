"""Devices and processes: the mesh and the sharding of the state."""
