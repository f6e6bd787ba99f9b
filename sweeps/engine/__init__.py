"""One chunk on this machine: tracing, the program, its plan, training and commit."""
