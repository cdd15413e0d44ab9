"""The compiled core: what runs between two decision epochs. `events` is where to start."""
