"""Contextual combinatorial bandits, and the models that they learn with."""
