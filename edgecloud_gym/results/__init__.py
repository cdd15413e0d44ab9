"""What lanes have done, read from their state: records, snapshots, metrics."""
