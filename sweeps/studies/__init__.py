"""Ready studies: `sweeps run digits-mlp` runs `sweeps/studies/digits_mlp.py:study`."""
