"""From a finished measurement to a dataset: embeddings, figures, card."""
