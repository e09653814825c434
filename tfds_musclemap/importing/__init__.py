"""Reading the authors' release and running pose estimators."""
