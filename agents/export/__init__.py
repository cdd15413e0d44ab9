"""Trained policies as files that need neither this package nor Stable-Baselines3."""
