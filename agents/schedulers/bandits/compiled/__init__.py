"""Compiled arithmetic of the bandits: networks and regressions of a few hundred units."""
