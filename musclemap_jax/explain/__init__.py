"""Explanations: on which patches, joints and modalities a model's answer for a muscle region rests."""
