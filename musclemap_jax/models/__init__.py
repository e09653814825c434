"""Models: video and skeleton branches, class tokens, distillation and fusion."""
