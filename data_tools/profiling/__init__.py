"""Measuring: one prompt after the other, and the slowdown of batches."""
