"""Pose estimators, each a script for an environment of its own; see ``importing/pose_process.py``."""
