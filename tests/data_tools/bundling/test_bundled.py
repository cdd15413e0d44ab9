"""What the package promises of the dataset that comes with it."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from data_tools.bundling.run_figures import explained_variance
from data_tools.prompts.builtin import generate_prompts
from edgecloud_gym.dataset import bundled_datasets, load_dataset
from edgecloud_gym.dataset.files import ASSETS


@pytest.fixture(scope="module")
def folder():
    return ASSETS / "smollm2-135m"


@pytest.fixture(scope="module")
def dataset():
    assert "smollm2-135m" in bundled_datasets()
    return load_dataset("smollm2-135m")


def test_it_holds_a_thousand_prompts_of_the_built_in_set(dataset):
    assert len(dataset) >= 1000
    assert set(dataset.prompts) <= {prompt.text for prompt in generate_prompts()}
    assert len(set(dataset.prompts)) == len(dataset)


def test_latencies_vary_widely_and_few_answers_are_cut_off(dataset, folder):
    assert dataset.base_latency.std() / dataset.base_latency.mean() >= 0.7
    table = pd.read_parquet(folder / "requests.parquet")
    assert (table["finish_reason"] == "length").mean() <= 0.10
    assert (table["repeated_inference_times"].str.len() > 0).sum() >= 50


def test_embeddings_predict_latency(dataset):
    assert dataset.embeddings.shape == (len(dataset), 384)
    assert explained_variance(dataset) >= 0.3


def test_the_slowdown_curve_was_measured(dataset):
    assert dataset.slowdown[0] == 1
    assert (np.diff(dataset.slowdown) >= 0).all()


def test_it_is_small_and_has_a_card(folder):
    assert {file.name for file in folder.iterdir() if file.is_file()} == {
        "README.md",
        "croissant.json",
        "embeddings.npz",
        "requests.parquet",
        "slowdown.json",
    }
    bundled = [file for file in folder.rglob("*") if file.is_file()]  # other machines' as well
    assert sum(file.stat().st_size for file in bundled) < 5e6


def test_other_tools_read_it(folder):
    """Croissant names every file by its digest; the front matter names the table."""
    stated = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    digests = {item["name"]: item["sha256"] for item in stated["distribution"]}
    assert digests == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("embeddings.npz", "requests.parquet", "slowdown.json")
    }
    fields = {item["name"] for item in stated["recordSet"][0]["field"]}
    columns = set(pd.read_parquet(folder / "requests.parquet").columns)
    assert columns - fields == {"repeated_inference_times"}  # a list
    head = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert yaml.safe_load(head)["license"] == "apache-2.0"
