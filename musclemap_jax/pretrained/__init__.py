"""Import of published checkpoints, and export for other code bases."""
