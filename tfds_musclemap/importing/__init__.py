"""Import of the authors' release and of pose estimators' results into a raw data set."""
