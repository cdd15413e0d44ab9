"""Experiments: scenarios x agents x seeds, and the training of agents."""
