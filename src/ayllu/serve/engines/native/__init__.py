"""Our own engine in C for processors: packed weights, kernels by family, whole decode and prefill steps."""
