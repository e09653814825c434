"""Evaluation: predictions of whole splits, average precision and metrics."""
