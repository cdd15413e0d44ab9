"""The commands of `data_tools`; `agents.cli` mounts them."""
