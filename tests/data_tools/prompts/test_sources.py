import json

import pandas as pd
import pytest

from data_tools.prompts.builtin import generate_prompts
from data_tools.prompts.sources import load_prompts

ALPACA = [
    {"instruction": f"Do thing {i}.", "input": "with this" if i % 2 else "", "output": "x"}
    for i in range(10)
]
EXPECTED = [f"Do thing {i}." + ("\n\nwith this" if i % 2 else "") for i in range(10)]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def write(tmp_path, suffix, records):
    path = tmp_path / f"prompts{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(records))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pd.DataFrame(records).to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_files_are_read_in_order_with_the_input_below_the_instruction(tmp_path, suffix):
    assert load_prompts(write(tmp_path, suffix, ALPACA)) == EXPECTED


def test_split_slices_and_limits(tmp_path):
    path = write(tmp_path, ".json", ALPACA)
    assert load_prompts(path, split="train[2:6]") == EXPECTED[2:6]
    assert load_prompts(path, split="train[2:6]", limit=3) == EXPECTED[2:5]
    assert load_prompts(path, limit=99) == EXPECTED


def test_a_directory_of_parquet_shards_as_the_hub_lays_them_out(tmp_path):
    data = tmp_path / "dataset--tatsu-lab--alpaca" / "data"
    data.mkdir(parents=True)
    pd.DataFrame(ALPACA).to_parquet(data / "train-00000-of-00001.parquet")
    assert load_prompts(str(data.parent), split="train[:4]") == EXPECTED[:4]


def test_a_column_can_be_named_or_found(tmp_path):
    path = write(tmp_path, ".jsonl", [{"prompt": "p", "other": "o"}])
    assert load_prompts(path) == ["p"]
    assert load_prompts(path, column="other") == ["o"]
    with pytest.raises(ValueError, match=r"column 'nothing' is not in .+: it has prompt"):
        load_prompts(path, column="nothing")


def test_records_without_a_prompt_are_refused_naming_their_columns(tmp_path):
    path = write(tmp_path, ".jsonl", [{"x": "1", "y": "2"}])
    with pytest.raises(ValueError, match="no prompt column among x, y"):
        load_prompts(path)


def test_the_built_in_set():
    assert load_prompts("builtin", limit=5) == [prompt.text for prompt in generate_prompts(5)]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.jsonl does not exist"):
        load_prompts(str(tmp_path / "nothing.jsonl"))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        load_prompts("builtin", limit=0)


def test_the_alpaca_sample(shared_dir):
    path = shared_dir / "data" / "alpaca_sample.json"
    prompts = load_prompts(str(path), split="train[:20]")
    records = json.loads(path.read_text())
    assert len(prompts) == 20
    assert prompts[0].startswith(records[0]["instruction"])
