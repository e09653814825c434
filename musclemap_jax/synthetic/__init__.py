"""A synthetic MuscleMap raw data set: kinematic people exercising, rendered to video and 2D skeletons."""
