"""Datasets in memory: checks, immutability, splits and embedding tables."""

import copy
import math
import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgecloud_gym.dataset import RequestDataset, load_dataset, prompts_digest


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"base_latency": []}, "at least one request"),
        ({"base_latency": [[1.0]]}, r"base_latency must have 1 dimension\(s\), got shape \(1, 1\)"),
        ({"base_latency": ["x"]}, "base_latency must be an array of numbers"),
        (
            {"base_latency": [1.0, np.nan]},
            "base_latency must be finite and above 0 s; row 1 is nan",
        ),
        ({"base_latency": [0.0]}, "row 0 is 0.0"),
        ({"base_latency": [1.0], "embeddings": [1.0]}, r"embeddings must have 2 dimension\(s\)"),
        ({"base_latency": [1.0], "embeddings": [[]]}, "at least one column"),
        (
            {"base_latency": [1.0], "embeddings": [[np.inf, 0.0]]},
            "embeddings must be finite; row 0",
        ),
        ({"base_latency": [1.0], "prompts": "x"}, "prompts must be a sequence of strings"),
        (
            {"base_latency": [1.0], "prompts": ["x", "y"]},
            "prompts must have one row per request: 1",
        ),
        ({"base_latency": [1.0], "prompt_tokens": [1.5]}, "prompt_tokens must be a whole number"),
        ({"base_latency": [1.0], "cached_tokens": [-2]}, "cached_tokens must be .* from -1 to"),
        (
            {"base_latency": [1.0], "response_tokens": [-1]},
            "response_tokens must be a whole number",
        ),
        (
            {"base_latency": [1.0], "response_tokens": [2**31]},
            "response_tokens must be a whole number",
        ),
        ({"base_latency": [1.0, 2.0], "prompt_tokens": [3, 10**12]},
         "prompt_tokens must be .* from 0 to 2147483647; row 1 is 1000000000000"),
        ({"base_latency": [1.0, 10**400]}, "base_latency must be .* out of range"),
        ({"base_latency": [1.0, "5"]}, "base_latency must be .*: row 1 is str '5'"),
        ({"base_latency": [1.0, True]}, "base_latency must be .*: row 1 is bool True"),
        ({"base_latency": [1.0, 2 + 0j]}, "base_latency must be .*: row 1 is complex"),
        ({"base_latency": np.array([True, True])}, "base_latency must be .*: row 0 is bool True"),
        ({"base_latency": np.array([1j])}, "base_latency must be .*: row 0 is complex"),
        ({"base_latency": np.ma.array([1.0, 2.0], mask=[0, 1])}, "base_latency .*row 1 is masked"),
        ({"base_latency": [timedelta(seconds=1), 5]}, "base_latency .*row 1 is int 5, no time"),
        ({"base_latency": np.ma.array([1, 2], "m8[s]", mask=[0, 1])}, "row 1 is masked"),
        ({"base_latency": [1.0, 2.0], "prompt_tokens": [1, True]}, "tokens .*: row 1 is bool True"),
        ({"base_latency": [1.0, 2.0], "response_tokens": ["5", "6"]}, "tokens .*: row 0 is str"),
        ({"base_latency": [1.0], "response_tokens": [5 + 0j]}, "tokens .*: row 0 is complex"),
        ({"base_latency": [1.0], "response_tokens": np.ma.array([5], mask=[1])}, "row 0 is masked"),
        ({"base_latency": [1.0], "embeddings": [["5"]]}, "embeddings .*: row 0, 0 is str '5'"),
        ({"base_latency": [1.0], "embeddings": np.ma.array([[5.0]], mask=[[1]])}, "0 is masked"),
        ({"base_latency": [1.0], "slowdown": np.ma.array([1, 2], mask=[0, 1])}, "1 is masked"),
        ({"base_latency": [1.0], "prompts": ["\ud800"]}, "prompts: row 0 holds half a character"),
        ({"base_latency": np.array([5], "m8")}, "base_latency .* durations without a unit"),
        ({"base_latency": [1.0], "prompts": 5}, "prompts must be a sequence of strings, got int"),
        ({"base_latency": [1.0], "prompts": {"a": 1}}, "a sequence of strings, got dict"),
        ({"base_latency": [1.0], "prompts": pd.DataFrame({"a": ["x"]})}, "strings, got DataFrame"),
        ({"base_latency": [1.0], "prompts": [5]}, "prompts must be .*; row 0 is int 5"),
        ({"base_latency": [1.0], "prompts": np.ma.array(["a"], mask=[1])}, "row 0 is masked"),
        ({"base_latency": [1.0], "slowdown": []}, r"must start with s\(1\) = 1"),
        (
            {"base_latency": [1.0], "slowdown": [1.0, 0.0]},
            "slowdown must be finite and above 0; row 1",
        ),
    ],
)  # fmt: skip
def test_bad_arrays(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RequestDataset.from_arrays(**arrays)


def test_arrays_are_read_only_copies_and_survive_copy_and_pickle() -> None:
    latency = np.array([1.0, 2.0])
    data = RequestDataset.from_arrays(latency, embeddings=np.eye(2), prompts=["a", "b"])
    latency[0] = 9.0
    assert data.base_latency[0] == 1.0
    assert copy.deepcopy(data) is data
    twin = pickle.loads(pickle.dumps(data))
    assert twin.prompts == ("a", "b")
    for array in (data.base_latency, data.embeddings, twin.base_latency, twin.embedding_table(2)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_split_is_disjoint_complete_and_about_one_fifth() -> None:
    prompts = [f"question {i}" for i in range(5000)]
    for given_prompts in (prompts, None):
        data = RequestDataset.from_arrays(np.ones(5000), prompts=given_prompts)
        train, test = data.rows("train"), data.rows("test")
        assert_array_equal(np.sort(np.concatenate([train, test])), data.rows("all"))
        assert test.dtype == np.int32
        assert abs(len(test) - 1000) < 4 * np.sqrt(5000 * 0.2 * 0.8)


@given(prompts=st.lists(st.text(max_size=3), min_size=1, max_size=30), extra=st.text())
def test_split_depends_on_the_prompt_alone(prompts: list[str], extra: str) -> None:
    def sides(texts: list[str]) -> dict[str, set[str]]:
        data = RequestDataset.from_arrays(np.ones(len(texts)), prompts=texts)
        return {split: {texts[i] for i in data.rows(split)} for split in ("train", "test")}

    prompts = ["prompt 0", "prompt 1", *prompts]  # one of the test side, one of the train side
    before, after = sides(prompts), sides([extra, *prompts[::-1]])
    assert before["train"].isdisjoint(before["test"])
    for split, texts in before.items():
        assert texts == after[split] & set(prompts)


def test_split_never_changes() -> None:
    # A changed hash would move prompts from one side to the other between releases.
    data = RequestDataset.from_arrays(np.ones(20), prompts=[f"prompt {i}" for i in range(20)])
    assert_array_equal(data.rows("test"), [0, 4, 9])


def test_split_faults() -> None:
    data = RequestDataset.from_arrays([1.0], prompts=["prompt 1"])
    with pytest.raises(
        ValueError, match="split='held-out': must be one of 'all', 'train', 'test', 'fit'"
    ):
        data.rows("held-out")
    with pytest.raises(ValueError, match=r"split 'test' of .* is empty"):
        data.rows("test")


def test_digest() -> None:
    assert prompts_digest(["ab", "c"]) != prompts_digest(["a", "bc"])
    assert prompts_digest(["a", "b"]) != prompts_digest(["b", "a"])
    assert prompts_digest(["\ud800"]) == prompts_digest(["\ud800"])


@pytest.fixture(scope="module")
def stretched() -> RequestDataset:
    """Embeddings with standard deviations 30, 20, 10 and 1 along unknown axes, far from 0."""
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    points = rng.normal(size=(4000, 4)) * [30.0, 20.0, 10.0, 1.0] @ rotation + 100.0
    return RequestDataset.from_arrays(np.ones(4000), embeddings=points)


def test_components_are_ordered_uncorrelated_and_on_one_scale(stretched: RequestDataset) -> None:
    table = stretched.embedding_table(3)
    assert table.shape == (4000, 3)
    assert table.dtype == np.float32
    train = table[stretched.rows("train")].astype(np.float64)
    covariance = np.cov(train, rowvar=False, bias=True)
    assert_allclose(train.mean(axis=0), 0.0, atol=1e-5)
    assert covariance[0, 0] == pytest.approx(1.0, rel=1e-5)
    assert_allclose(np.sqrt(np.diag(covariance)), [1.0, 2 / 3, 1 / 3], rtol=0.05)
    assert_allclose(covariance - np.diag(np.diag(covariance)), 0.0, atol=1e-5)


def test_full_width_is_centred_and_scaled_but_not_rotated(stretched: RequestDataset) -> None:
    full, rotated = stretched.embedding_table(None), stretched.embedding_table(4)
    difference = full.astype(np.float64) * np.sqrt(scale_squared(stretched))
    assert stretched.embeddings is not None
    centre = stretched.embeddings[stretched.rows("train")].mean(axis=0, dtype=np.float64)
    assert_allclose(difference, stretched.embeddings - centre, atol=1e-3)
    # A rotation keeps distances.
    assert_allclose(np.linalg.norm(full, axis=1), np.linalg.norm(rotated, axis=1), rtol=1e-4)


def scale_squared(data: RequestDataset) -> float:
    assert data.embeddings is not None
    train = data.embeddings[data.rows("train")]
    return float(np.linalg.eigvalsh(np.cov(train, rowvar=False, bias=True))[-1])


def test_fewer_components_are_the_first_of_more(stretched: RequestDataset) -> None:
    assert_allclose(
        stretched.embedding_table(2), stretched.embedding_table(4)[:, :2], rtol=1e-5, atol=1e-6
    )


def test_table_does_not_see_the_test_side(stretched: RequestDataset) -> None:
    assert stretched.embeddings is not None
    moved = stretched.embeddings.copy()
    moved[stretched.rows("test")] *= 5.0
    other = RequestDataset.from_arrays(np.ones(4000), embeddings=moved)
    train = stretched.rows("train")
    assert_array_equal(other.embedding_table(3)[train], stretched.embedding_table(3)[train])


def test_table_is_deterministic_cached_and_has_fixed_signs(stretched: RequestDataset) -> None:
    assert stretched.embedding_table(2) is stretched.embedding_table(2)
    twin = pickle.loads(pickle.dumps(stretched))
    assert_array_equal(twin.embedding_table(2), stretched.embedding_table(2))
    mirrored = RequestDataset.from_arrays([1.0] * 3, embeddings=[[0.0, 3], [0, 1], [0, 2]])
    assert np.argmax(mirrored.embedding_table(1)) == 0  # the axis points upwards


def test_outliers_are_clipped() -> None:
    embeddings = np.zeros((1000, 1))
    embeddings[0] = 1e6
    data = RequestDataset.from_arrays(np.ones(1000), embeddings=embeddings)
    assert data.embedding_table(1).max() == 10.0


def test_directions_without_variance_are_zero() -> None:
    flat = np.outer(np.arange(10.0), [3.0, 4.0, 0.0]) + 7.0
    table = RequestDataset.from_arrays(np.ones(10), embeddings=flat).embedding_table(3)
    assert_array_equal(table[:, 1:], 0.0)
    equal = RequestDataset.from_arrays(np.ones(3), embeddings=np.full((3, 2), 0.1))
    assert_array_equal(equal.embedding_table(2), 0.0)
    assert_array_equal(equal.embedding_table(None), 0.0)
    single = RequestDataset.from_arrays([1.0], embeddings=[[1.0, 2.0]])
    assert_array_equal(single.embedding_table(1), 0.0)


@pytest.mark.parametrize("dim", [0, -1, 5, True])
def test_bad_dimension(stretched: RequestDataset, dim: int) -> None:
    with pytest.raises((TypeError, ValueError), match=f"embedding_dim={dim}: must be .* 1 to 4"):
        stretched.embedding_table(dim)
    with pytest.raises(ValueError, match="has no embeddings"):
        RequestDataset.from_arrays([1.0]).embedding_table(1)


@pytest.mark.parametrize(
    "latency",
    [
        pd.Series(pd.to_timedelta([500, 2000], unit="ms")),
        np.array([500, 2000], dtype="timedelta64[ms]"),
        [timedelta(seconds=0.5), timedelta(seconds=2)],
    ],
    ids=lambda latency: type(latency).__name__,
)
def test_durations_count_by_their_unit(latency: Any) -> None:
    assert_allclose(RequestDataset.from_arrays(latency).base_latency, [0.5, 2.0])


def test_times_of_other_kinds_are_no_quantities() -> None:
    dates = np.array(["2024-05-10"], dtype="datetime64[ns]")
    with pytest.raises(ValueError, match=r"base_latency must be .*dates are moments"):
        RequestDataset.from_arrays(dates)
    with pytest.raises(ValueError, match=r"response_tokens must be .*durations or dates"):
        RequestDataset.from_arrays([1.0], response_tokens=dates.astype("timedelta64[s]"))
    with pytest.raises(ValueError, match="response_tokens must be an array of numbers"):
        RequestDataset.from_arrays([1.0], response_tokens=[10**400])


@pytest.mark.parametrize(
    ("latency", "tokens", "remark"),
    [
        ([1834.0, 2500.0, 900.0], None, True),
        ([1834.0, 2500.0, 900.0], [90, 120, 50], True),
        ([600.0, 700.0, 800.0], [300, 350, 400], True),  # a fast model: 2 ms a token
        ([600.0, 700.0, 800.0], [9000, 9000, 9000], False),  # a long answer
        ([1.834, 2.5, 0.9], [90, 120, 50], False),
        ([40.0, 50.0, 60.0], None, False),
    ],
)
def test_times_that_look_like_milliseconds_are_remarked_on(
    latency: list[float], tokens: list[int] | None, remark: bool
) -> None:
    if remark:
        with pytest.warns(UserWarning, match=r"mine: the median inference time .*milliseconds\?"):
            RequestDataset.from_arrays(latency, response_tokens=tokens, name="mine")
    else:
        RequestDataset.from_arrays(latency, response_tokens=tokens, name="mine")


def test_times_to_first_token() -> None:
    first = [0.25, math.nan]
    data = RequestDataset.from_arrays([1.0, 2.0], time_to_first_token=first)
    assert data.time_to_first_token is not None
    assert data.time_to_first_token[0] == 0.25
    assert math.isnan(data.time_to_first_token[1])
    assert not data.time_to_first_token.flags.writeable
    nothing = RequestDataset.from_arrays([1.0], time_to_first_token=[math.nan])
    assert nothing.time_to_first_token is None
    for wrong in ([0.0, 1.0], [1.5, 1.0], [-1.0, 1.0], [0.5]):
        with pytest.raises(ValueError, match="time_to_first_token"):
            RequestDataset.from_arrays([1.0, 2.0], time_to_first_token=wrong)


def test_tokens_found_in_caches() -> None:
    data = RequestDataset.from_arrays([1.0, 2.0, 3.0], cached_tokens=[4, math.nan, -1])
    assert data.cached_tokens is not None
    assert data.cached_tokens.dtype == np.int32
    assert data.cached_tokens.tolist() == [4, -1, -1]
    assert not data.cached_tokens.flags.writeable
    nothing = RequestDataset.from_arrays([1.0, 2.0], cached_tokens=[math.nan, -1])
    assert nothing.cached_tokens is None


def test_the_bundled_dataset_knows_its_first_tokens() -> None:
    data = load_dataset("smollm2-135m")
    assert data.time_to_first_token is not None
    share = data.time_to_first_token / data.base_latency
    assert 0.0 < share.min() < share.max() < 1.0
