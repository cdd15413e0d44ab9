"""Datasets: requests with their prompts, embeddings and measured times."""

from edgecloud_gym.dataset.files import bundled_datasets, dataset_machines
from edgecloud_gym.dataset.requests import (
    EMBEDDING_BOUND,
    SPLITS,
    RequestDataset,
    load_dataset,
    prompts_digest,
)

__all__ = [
    "EMBEDDING_BOUND",
    "SPLITS",
    "RequestDataset",
    "bundled_datasets",
    "dataset_machines",
    "load_dataset",
    "prompts_digest",
]
