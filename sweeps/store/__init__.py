"""The run directory: manifest, chunks, checkpoints, rungs, best states, lock, heartbeats, status."""
