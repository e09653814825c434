"""Pose estimation: 2D joints of the persons in a video's frames."""
