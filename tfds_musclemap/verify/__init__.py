"""Verification of a prepared data set."""
