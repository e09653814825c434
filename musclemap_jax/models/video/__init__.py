"""MViTv2, the video branch."""
