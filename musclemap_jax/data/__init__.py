"""Input: the raw distribution, video, skeletons, sampling, augmentation and the batches."""
