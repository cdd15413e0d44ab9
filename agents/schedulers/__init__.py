"""The agents themselves; `agents.registry` knows them by name."""
