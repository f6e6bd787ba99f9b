"""The rectifier family for JAX and Flax, with exact values and chosen derivatives at zero."""
