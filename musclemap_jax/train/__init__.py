"""Training: state, step, loop, optimizer, losses, checkpoints."""
