"""The benchmark suite: frozen scenarios, who plays them, and what is made of the results."""

from agents.suite.definition import Cell, Suite, load_suite

__all__ = ["Cell", "Suite", "load_suite"]
