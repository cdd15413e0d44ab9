"""Engine models: what they accept, keep, and say of a server."""

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from edgecloud_gym.engines import EngineModel, bundled_engines, load_engine
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.simulator.engine_log import simulate_engine

GIVEN: dict[str, Any] = {
    "step_overhead": 1e-3,
    "step_floor": 5e-3,
    "token_time": 2e-5,
    "context_time": 6e-8,
    "sequences": 32,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_floor": -1.0}, "step_floor=-1.0: must be a finite number from 0"),
        ({"token_time": float("nan")}, "token_time=nan: must be a finite number from 0"),
        ({"context_time": "fast"}, "context_time='fast': must be a finite number"),
        ({"sequences": 0}, "sequences=0: must be an integer from 1"),
        ({"batched_tokens": 16}, "batched_tokens=16: must be an integer >= sequences=32"),
        ({"kv_tokens": 8}, "kv_tokens=8: must be an integer from 16"),
        ({"lookahead": 1}, "lookahead=1: must be True or False"),
        ({"shared_prefix": -1}, "shared_prefix=-1: must be an integer from 0"),
        ({"shared_prefix": 2.5}, "shared_prefix=2.5: must be an integer"),
        ({"mixed_batches": "no"}, "mixed_batches='no': must be True or False"),
        ({"step_times": [(1, 0.1)]}, "step_times must be two or more pairs"),
        ({"step_times": [(2, 0.1), (1, 0.2)]}, "tokens increasing"),
        ({"step_times": [(1, 0.2), (2, 0.1)]}, "(2, 0.1)]: the last slope goes on for ever"),
        (
            {"step_times": [(1, 0.0), (2, 0.1)]},
            "(seconds)=0.0: must be a finite number > 0 and <= 3600",
        ),
        ({"sequences": 0}, "an integer from 1 to 1000000"),
        ({"step_overhead": 0.0, "step_floor": 0.0, "token_time": 0.0}, "longer than 0 s"),
        ({"name": 3}, "name=3: must be a string"),
    ],
)
def test_refuses_what_no_server_is(change: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        EngineModel(**(GIVEN | change))


def test_survives_json_pickle_and_deepcopy(tmp_path: Path) -> None:
    model = EngineModel(
        **GIVEN,
        step_times=((1, 0.01), (4, 0.03)),
        errors={"e2e_mean": -0.01},
        intervals={"step_floor": None},
    )
    path = tmp_path / "mine.json"
    model.save(path)
    for other in (load_engine(path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert other.to_dict() == model.to_dict()
        assert hash(other) == hash(model)


def test_cannot_be_changed() -> None:
    model = EngineModel(**GIVEN, errors={"e2e_mean": 0.1})
    with pytest.raises(AttributeError):
        model.sequences = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        model.errors["e2e_mean"] = 0.0  # type: ignore[index]


def test_a_file_names_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for values, message in (
        (GIVEN | {"sequnces": 3}, "unknown key 'sequnces' .did you mean 'sequences'"),
        ({"sequences": 3}, "key 'step_overhead' is missing"),
        (GIVEN | {"step_floor": -1}, "step_floor=-1: must be"),
        ([1], "an engine model is a JSON object"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(UnreadableFileError, match=f"mine.json: {message}"):
            load_engine(path)
    with pytest.raises(FileNotFoundError):
        load_engine(tmp_path / "absent.json")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*, or the path of a .json file"):
        load_engine("tpu-of-mine")
    with pytest.raises(ValueError, match=r"or the path of a .json file"):
        load_engine(Path(bundled_engines()[0]))  # a path is no name


@pytest.mark.parametrize("name", bundled_engines())
def test_bundled_models_say_where_they_are_from(name: str) -> None:
    model = load_engine(name)
    assert model.name == name
    assert model.served_model
    assert model.hardware
    assert model.source
    assert model.errors
    assert model.judged


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"prefill_overhead": 0.03},
        {"kv_tokens": 6000},
        {"batched_tokens": 64},
        {"step_times": ((1, 0.005), (16, 0.008), (2048, 0.2))},
        {"token_time": 5e-4},
        {"token_time": 5e-4, "shared_prefix": 45},
        {"token_time": 5e-4, "mixed_batches": False},
    ],
)
def test_capacity_is_the_rate_at_which_a_full_engine_finishes(change: dict[str, Any]) -> None:
    model = EngineModel(**(GIVEN | change))
    rng = default_rng(0)
    n = 4000
    prompts = rng.integers(50, 400, n)
    outputs = rng.integers(60, 141, n)
    finish = np.sort(simulate_engine(model, np.zeros(n), prompts, outputs).finish)
    full = finish[n // 10 : n * 8 // 10]
    rate = (len(full) - 1) / (full[-1] - full[0])
    assert model.capacity(prompts.mean(), outputs.mean()) == pytest.approx(rate, rel=0.15)


@pytest.mark.parametrize("kv_tokens", [None, 6000])
def test_long_answers_decode_for_longer(kv_tokens: int | None) -> None:
    """Of one request in eight that has a long answer, there are more than one in eight running."""
    model = EngineModel(**(GIVEN | {"kv_tokens": kv_tokens, "context_time": 3e-6}))
    n = 4000
    prompts = np.full(n, 50)
    outputs = np.where(default_rng(0).random(n) < 1 / 8, 800, 20)
    finish = np.sort(simulate_engine(model, np.zeros(n), prompts, outputs).finish)
    full = finish[n // 10 : n * 8 // 10]
    rate = (len(full) - 1) / (full[-1] - full[0])
    context = np.average(prompts + outputs / 2, weights=outputs)
    found = model.capacity(prompts.mean(), outputs.mean(), context=context)
    assert found == pytest.approx(rate, rel=0.15)
    assert model.capacity(prompts.mean(), outputs.mean()) > 1.3 * rate


def test_a_data_sheet_gives_what_an_h100_measured() -> None:
    """Llama-3.1-8B: 16 GB of weights at 3.35 TB/s, 16 GFLOP a token, 131 KB of cache a token."""
    model = EngineModel.from_hardware(
        parameters=8.03e9,
        layers=32,
        kv_bytes_per_token=131_072,
        flops=989e12,
        bandwidth=3.35e12,
        memory=80e9,
    )
    assert model.step_floor == pytest.approx(4.6e-3, rel=0.1)
    assert model.token_time == pytest.approx(21e-6, rel=0.1)
    assert model.context_time == pytest.approx(0.06e-6, rel=0.15)
    assert 400_000 < (model.kv_tokens or 0) < 450_000
    with pytest.raises(ValueError, match=r"memory=1000000000.0: must be"):
        EngineModel.from_hardware(
            parameters=8e9,
            layers=32,
            kv_bytes_per_token=1e5,
            flops=1e15,
            bandwidth=1e12,
            memory=1e9,
        )


def test_log_refuses_what_can_never_finish() -> None:
    model = EngineModel(**GIVEN, kv_tokens=160)
    assert model.fits(100, 61)
    assert not model.fits(100, 62)
    simulate_engine(model, [0.0], [100], [61])
    with pytest.raises(ValueError, match="request 1 needs 161 tokens in the cache"):
        simulate_engine(model, [0.0, 1.0], [100, 100], [61, 62])
    with pytest.raises(ValueError, match="output_tokens must be whole numbers from 1; request 0"):
        simulate_engine(model, [0.0], [100], [0])
    with pytest.raises(ValueError, match="cached_tokens must be whole numbers from -1; request 0"):
        simulate_engine(model, [0.0], [100], [5], [-5])


@pytest.mark.parametrize("name", ["arrival", "prompt_tokens", "output_tokens", "cached_tokens"])
def test_log_takes_real_numbers_alone(name: str) -> None:
    model = EngineModel(**GIVEN)
    rows: dict[str, Any] = {
        "arrival": [0.0, 1.0],
        "prompt_tokens": [9, 9],
        "output_tokens": [5, 5],
        "cached_tokens": [2, -1],
    }
    simulate_engine(model, **rows)
    for wrong in ([3 + 0j, 3], ["3", "3"], np.array(["2026-01-01"] * 2, "M8[s]"), [True, True]):
        with pytest.raises(TypeError, match=f"^{name}: "):
            simulate_engine(model, **{**rows, name: wrong})
    with pytest.raises(ValueError, match=f"^{name}: request 1 is masked"):
        simulate_engine(model, **{**rows, name: np.ma.array([3, 3], mask=[False, True])})


def test_what_is_computed_of_a_prompt_is_what_is_not_shared() -> None:
    model = EngineModel(**GIVEN, shared_prefix=24)
    assert [model.computed(prompt) for prompt in (100, 25, 24, 3, 1, 0)] == [76, 1, 1, 1, 1, 0]
    apart = EngineModel(**GIVEN, mixed_batches=False)
    alone = apart.step_time(decoding=0, prompt=500), apart.step_time(decoding=8, context=900)
    both = apart.step_time(decoding=8, context=900, prompt=500)
    assert both == pytest.approx(sum(alone) - apart.step_overhead)
