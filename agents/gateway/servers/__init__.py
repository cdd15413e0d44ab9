"""The servers behind a gateway: what they are, asking them, reading their answers."""
