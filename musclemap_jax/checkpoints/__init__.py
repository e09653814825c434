"""What a run keeps on disk: training state, checkpoints, their checksums and validation scores."""
