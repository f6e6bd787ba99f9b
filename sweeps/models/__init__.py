"""A Trial from a Flax model, an optax optimiser and a data set."""
