"""The training of agents: who learns, how good it gets, and the files that keep it."""
