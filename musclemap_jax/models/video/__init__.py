"""The video branches: MViTv2, Video Swin and convolutional networks."""
