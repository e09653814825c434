"""Evaluation: average precision, metrics, tables, plots and the report."""
