"""A dataset that is written is read back, number for number."""

import math
from dataclasses import fields
from pathlib import Path

import numpy as np

from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.dataset.writing import write_dataset


def test_all_that_a_dataset_holds_comes_back(tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(
        base_latency=[0.1, 1 / 3, 2.0],
        embeddings=np.arange(6).reshape(3, 2),
        prompts=["a", "b", "c"],
        prompt_tokens=[5, 6, 7],
        response_tokens=[1, 2, 3],
        slowdown=[1.0, 1.25],
        name="written",
        time_to_first_token=[0.05, math.nan, 0.5],
        families=["x", "y", "x"],
        cached_tokens=[4, -1, 0],
    )
    write_dataset(data, tmp_path / "written")
    read = load_dataset(tmp_path / "written")
    for field in fields(RequestDataset):
        if field.init:
            assert getattr(data, field.name) is not None
            np.testing.assert_array_equal(getattr(read, field.name), getattr(data, field.name))


def test_what_is_not_known_stays_so(tmp_path: Path) -> None:
    write_dataset(RequestDataset.from_arrays([0.5, 1.0], prompts=["a", "b"]), tmp_path / "bare")
    read = load_dataset(tmp_path / "bare")
    for name in ("embeddings", "prompt_tokens", "response_tokens", "slowdown", "cached_tokens"):
        assert getattr(read, name) is None
