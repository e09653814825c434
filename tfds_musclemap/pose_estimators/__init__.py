"""Programs that find persons' joints in videos; each runs in an environment of its own, see ``pose_process``."""
