"""Which members go on: halving, Hyperband, PBT and early stopping, pure functions on scores."""
