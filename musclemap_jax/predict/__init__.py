"""Prediction: from any video to active muscle regions."""
