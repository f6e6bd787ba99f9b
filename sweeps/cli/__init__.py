"""The `sweeps` command."""
