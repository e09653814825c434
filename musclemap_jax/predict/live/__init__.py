"""Live prediction: what a camera films, answered window by window while it runs."""
