"""A dataset as a folder that `load_dataset` reads back, number for number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecloud_gym.dataset.requests import RequestDataset, prompts_digest
from edgecloud_gym.dataset.slowdown import SlowdownFile
from edgecloud_gym.files import replacing


def write_dataset(dataset: RequestDataset, folder: Path) -> None:
    """Writes ``requests.parquet`` and, if there are any, ``embeddings.npz``, ``slowdown.json``.

    Prompts that are not there are written as their row numbers, which go to the same sides of the
    split. How a slowdown curve was measured is not kept.

    Args:
        dataset: The requests.
        folder: The folder; it is made, and files in it are replaced.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    prompts = dataset.prompts or tuple(map(str, range(len(dataset))))
    columns = {
        "request_text": list(prompts),
        "inference_time": dataset.base_latency,
        "input_token_count": dataset.prompt_tokens,
        "output_token_count": dataset.response_tokens,
        "cached_tokens": dataset.cached_tokens,
        "time_to_first_token": dataset.time_to_first_token,
        "family": None if dataset.families is None else list(dataset.families),
    }
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    with replacing(folder / "requests.parquet") as temporary:
        pq.write_table(table, temporary)
    if dataset.embeddings is not None:
        digest = np.array(prompts_digest(prompts))
        with replacing(folder / "embeddings.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, embeddings=dataset.embeddings, prompts_digest=digest)
    if dataset.slowdown is not None:
        SlowdownFile(dataset.slowdown.tolist()).write(folder / "slowdown.json")
