"""What answers prompts: models on this machine, servers."""
