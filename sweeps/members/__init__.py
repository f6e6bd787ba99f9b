"""From points to members: what a run requests, columns of hyperparameters, seeds and groups."""
