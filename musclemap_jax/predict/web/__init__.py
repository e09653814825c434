"""A page in the browser: drop a video on it, or record one, and see the muscle regions."""
