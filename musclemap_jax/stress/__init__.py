"""The stress test: how a trained model's mAP falls as its input gets worse."""
