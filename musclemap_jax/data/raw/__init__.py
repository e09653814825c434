"""The raw data set: its folder, videos, flow and manifest."""
