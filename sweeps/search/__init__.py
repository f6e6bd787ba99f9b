"""Where points come from: axes, grid, random, Sobol, and Optuna's samplers, in batches."""
