"""Episodes of one agent: one by itself, or several side by side as lanes."""

from agents.experiments.episode.single import agent_seed, play_steps, run_episode

__all__ = ["agent_seed", "play_steps", "run_episode"]
