"""Training: step, loop, objective, losses, optimizer, meter."""
