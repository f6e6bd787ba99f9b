"""Settings for every test: two XLA devices on any machine, and strict shapes."""

import jax

# Sharding is tested everywhere, so every test process sees more than one device. It must be set
# before the first array is made.
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
