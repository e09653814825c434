"""What muscles work against, from 2D joints: angles, levers, speeds and the centre of mass, for NumPy and JAX alike."""
