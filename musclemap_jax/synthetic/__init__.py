"""A synthetic MuscleMap distribution: kinematic people exercising, rendered to video and 2D skeletons."""
