"""TransM3E in JAX: activated muscle group estimation from video and skeletons."""

__version__ = "0.1.0"
