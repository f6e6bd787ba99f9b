"""Intervals, and comparisons over seeds."""
