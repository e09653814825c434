"""The activities of the synthetic raw data set."""
