"""Input: the raw data set, video, skeletons, sampling, augmentation and the batches."""
