"""The command line ``edgecloud``: a command is one file, `app` puts them together."""

from agents.cli.app import main

__all__ = ["main"]
