"""Runs: what an experiment plays one by one or side by side, and keeps as folders of their own."""
