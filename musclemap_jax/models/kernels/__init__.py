"""Convolution and attention kernels for CPU and TPU."""
