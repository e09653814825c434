"""The MuscleMap data set for TensorFlow Datasets: the builder, and its preparation without TensorFlow."""
