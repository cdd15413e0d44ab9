"""Without padding and in fewer bits the vectors stay what they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_tools.bundling import packed
from data_tools.bundling.embed import Embedder
from data_tools.bundling.packed import PackedEmbedder
from tests.data_tools.bundling.test_embed import PROMPTS, packaged_embedder
from tests.data_tools.bundling.tiny_bert import make_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("tiny-bert"))


def test_vectors_are_those_of_the_embedder(bert: Path) -> None:
    expected = Embedder(bert, device="cpu").encode(PROMPTS).vectors
    embedder = PackedEmbedder(bert, dtype=torch.float32)
    np.testing.assert_allclose(embedder.encode(PROMPTS).vectors, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_packaged_model_says_the_same_in_fewer_bits(dtype: torch.dtype | None) -> None:
    expected = packaged_embedder().encode(PROMPTS).vectors
    embedder = PackedEmbedder(dtype=dtype)
    vectors = embedder.encode(PROMPTS).vectors
    scale = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((vectors * expected).sum(axis=1) / scale).min() > 0.9999
    # Who else is embedded makes no difference: the same prompt is the same vector another day.
    alone = np.concatenate([embedder.encode([prompt]).vectors for prompt in PROMPTS])
    np.testing.assert_allclose(alone, vectors, atol=1e-6)


def test_where_matrices_cannot_be_laid_out_they_are_multiplied_as_they_are(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = PackedEmbedder(bert, dtype=torch.float32).encode(PROMPTS).vectors
    monkeypatch.setattr(packed, "_packs", lambda _: False)
    plain = PackedEmbedder(bert, dtype=torch.float32).encode(PROMPTS).vectors
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_other_kinds_of_model_are_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    make_bert(tmp_path)
    config = BertConfig.from_pretrained(tmp_path, hidden_act="relu")
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a bert with relu: must be a BERT with GELU"):
        PackedEmbedder(tmp_path)
