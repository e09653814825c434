"""Tables, plots and the report page of an evaluation."""
