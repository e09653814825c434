"""Building the prepared data set: clips to records to shards."""
