"""Repetitions of an exercise and their muscle regions, compared with what is expected."""
