"""This machine: devices, cores, the compilation cache, signals, and progress on a terminal."""
