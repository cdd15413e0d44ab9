"""The design of experiments: where agents play, who plays, and workloads that are played again."""
