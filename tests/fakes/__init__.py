"""A CUDA driver without a GPU, and the libraries that speak to it: see `cuda_driver`."""
