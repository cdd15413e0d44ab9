"""Prompt embeddings as the simulator needs them: shown to agents, and scored by callables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wording import shown


def shown_embeddings(config: SystemConfig, dataset: RequestDataset) -> NDArray[np.float32]:
    """Returns what observations show of each row, float32 (rows, d); d is 0 if they show ids."""
    if config.observe == "embedding":
        return embedding_table(dataset, config.embedding_dim)
    return np.zeros((len(dataset), 0), np.float32)


def require_embeddings(dataset: RequestDataset) -> NDArray[np.float32]:
    """Returns a dataset's embeddings as they are.

    Raises:
        ValueError: If it has none.
    """
    if dataset.embeddings is None:
        raise ValueError(
            f"dataset {shown(dataset.name)} has no embeddings: make them with `edgecloud embed`, "
            'or set observe="id" and priority to None or an array'
        )
    return dataset.embeddings


def embedding_table(dataset: RequestDataset, dim: int | None) -> NDArray[np.float32]:
    """Returns the embeddings of all rows, at most ``dim`` wide, float32 (rows, d).

    Raises:
        ValueError: If the dataset has none.
    """
    width = require_embeddings(dataset).shape[1]
    return dataset.embedding_table(None if dim is None else min(dim, width))
