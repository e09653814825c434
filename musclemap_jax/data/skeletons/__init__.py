"""Skeleton files of pose estimators and the poses that they hold."""
