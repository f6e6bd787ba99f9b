"""Settings for every test: two XLA devices on any machine, and strict shapes."""

import jax
from hypothesis import settings

# Sharding is tested everywhere, so every test process sees more than one device. It must be set
# before the first array is made.
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Property tests draw the same examples in every run, and may take as long as they need on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
