"""``python -m agents.cli``."""

from agents.cli.app import main

main()
