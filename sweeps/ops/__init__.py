"""What a population needs from XLA: convolution, dense, pooling, permutation, and whether all is finite."""
