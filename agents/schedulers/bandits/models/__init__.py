"""What bandits learn with: networks and regressions."""
