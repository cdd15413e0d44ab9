"""What a dataset or a trace holds, in numbers and pictures."""
