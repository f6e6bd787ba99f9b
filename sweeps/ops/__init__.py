"""What a population needs from XLA: convolution, dense, pooling, sums, permutation, finite numbers."""
