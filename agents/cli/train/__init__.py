"""``edgecloud train``: reading what is asked for, and one training or several."""

from agents.cli.train.command import train

__all__ = ["train"]
