"""Where chunks are trained: inline, in processes, on Ray."""
