"""Finding the numbers of rules by direct search, on train prompts."""
