import pytest

from data_tools.backends.models import load_model
from data_tools.prompts.sources import load_prompts


@pytest.fixture
def unreachable_hub(monkeypatch):
    """A hub that cannot be reached, asked once."""
    asked = []

    def fail(name, **options):
        asked.append((name, options["repo_type"]))
        raise OSError("no route to host\nmore of the same")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    return asked


def test_an_unreachable_dataset_is_named_at_once(unreachable_hub):
    with pytest.raises(ConnectionError, match=r"dataset 'some/prompts' .* \(no route to host\)$"):
        load_prompts("some/prompts")
    assert unreachable_hub == [("some/prompts", "dataset")]


def test_an_unreachable_model_names_the_ways_out(unreachable_hub):
    with pytest.raises(ConnectionError, match=r"model 'some/model' .* directory or a \.gguf file"):
        load_model("some/model", device="cpu")
    assert unreachable_hub == [("some/model", "model")]


@pytest.mark.parametrize("source", ["missing.gguf", "./missing", "/nowhere/missing"])
def test_a_missing_path_is_not_looked_for_on_the_hub(source, unreachable_hub):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_model(source, device="cpu")
    assert not unreachable_hub
