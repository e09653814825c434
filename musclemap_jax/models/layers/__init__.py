"""Layers that the branches share."""
