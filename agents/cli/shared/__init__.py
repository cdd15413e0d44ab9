"""What several commands share: options, how they are read, where they play, what they tell."""
