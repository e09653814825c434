"""Pose estimators as scripts that any environment can run; see ``importing/pose_process.py``."""
