"""Whole populations of models trained as one XLA program."""
