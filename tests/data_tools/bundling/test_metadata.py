"""What other tools read of a dataset folder."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data_tools.bundling.metadata import croissant, front_matter


@pytest.fixture
def folder(tmp_path):
    table = pa.table(
        {
            "request_text": ["Say yes.", "Tell a story."],
            "inference_time": [0.5, 2.0],
            "output_token_count": [1, 40],
            "repeated_inference_times": [[0.6], []],
        }
    )
    pq.write_table(table, tmp_path / "requests.parquet")
    (tmp_path / "slowdown.json").write_text('{"slowdown": [1.0, 1.2]}')
    (tmp_path / "README.md").write_text(front_matter("mine: toy", "MIT", 2) + "# mine\n")
    return tmp_path


def test_front_matter_is_yaml(folder):
    _, head, text = (folder / "README.md").read_text().split("---\n")
    stated = yaml.safe_load(head)
    assert stated["pretty_name"] == "mine: toy"
    assert stated["license"] == "mit"
    assert stated["size_categories"] == ["n<1K"]
    assert text == "\n# mine\n"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Apache-2.0", ("apache-2.0", None)),
        ("Apache-2.0, the model's", ("apache-2.0", None)),
        ("Mine: ask me", ("other", "Mine: ask me")),
    ],
)
def test_licenses(name, known):
    stated = yaml.safe_load(front_matter("x", name, 5000).split("---\n")[1])
    assert (stated["license"], stated.get("license_name")) == known


def test_datasets_loads_the_folder_with_the_card(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["inference_time"][:] == [0.5, 2.0]  # not what lies beside it
    assert list(loaded) == ["train"]


def test_croissant(folder):
    stated = croissant(folder, "mine", "MIT", "A toy.")
    assert [item["name"] for item in stated["distribution"]] == [
        "requests.parquet",
        "slowdown.json",
    ]
    fields = {item["name"]: item["dataType"] for item in stated["recordSet"][0]["field"]}
    assert fields == {
        "request_text": "sc:Text",
        "inference_time": "sc:Float",
        "output_token_count": "sc:Integer",
    }


@pytest.mark.filterwarnings("ignore")  # of its own libraries
def test_croissant_is_read_by_its_own_library(folder):
    mlcroissant = pytest.importorskip("mlcroissant", reason="checked where it is installed")
    (folder / "croissant.json").write_text(json.dumps(croissant(folder, "mine", "MIT", "A toy.")))
    rows = list(mlcroissant.Dataset(folder / "croissant.json").records("requests"))
    assert [row["requests/inference_time"] for row in rows] == [0.5, 2.0]
