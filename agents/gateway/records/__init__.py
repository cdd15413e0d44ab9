"""Records of live runs: writing them, deciding them again, playing them in simulation."""
