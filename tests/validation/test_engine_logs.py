"""Engines against logs of real servers: on requests, and at loads, that were not fitted.

The figures of docs/data/engines.csv are computed anew here, and held to what is promised of them.
"""

import csv
from pathlib import Path
from typing import Any

import pytest

from data_tools.calibration import calibrate, read_log
from data_tools.calibration.calibrate import errors_on
from data_tools.calibration.fit import Part, fit
from edgecloud_gym.engines import load_engine

QWEN_12 = "H100_Qwen2.5-3B_cache25600_12rps"
QWEN_30 = "H100_Qwen2.5-3B_cache25600_30rps"
HALVES = {
    "rtxpro6000-llama-3.1-8b": "RTXPRO6000_Llama-3.1-8B",
    "rtxpro6000x2-qwen3-32b": "RTXPRO6000_Qwen3-32B",
    "h100-llama-3.1-8b": "H100_Llama-3.1-8B_6rps",
}


@pytest.fixture
def logs(shared_dir: Path) -> Path:
    folder = shared_dir / "data" / "vllm_logs"
    if not folder.is_dir():
        pytest.skip(f"no logs of real servers: {folder} is not a folder")
    return folder


def summary(repository: Path) -> list[dict[str, str]]:
    with (repository / "docs" / "data" / "engines.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def row_of(repository: Path, **wanted: str) -> dict[str, str]:
    (row,) = [row for row in summary(repository) if all(row[key] == wanted[key] for key in wanted)]
    return row


def assert_same(errors: Any, row: dict[str, str], tolerance: float = 0.02) -> None:
    """Compares with a row of the summary, in per cent."""
    for name, value in errors.items():
        assert 100 * value == pytest.approx(float(row[name]), abs=tolerance), name


@pytest.mark.parametrize("name", HALVES)
def test_the_other_half_of_a_log(name: str, logs: Path, repository: Path) -> None:
    log = read_log(logs / f"{HALVES[name]}.jsonl.gz")
    errors = errors_on(load_engine(name), Part.half(log, odd=False))
    judged_on = f"{log.name}, even requests"
    assert_same(errors, row_of(repository, model=name, judged_on=judged_on))
    if name.startswith("rtx"):
        assert abs(errors["e2e_mean"]) <= 0.005
        assert errors["e2e_mape"] <= 0.006
        assert abs(errors["e2e_p99"]) <= 0.01
        assert abs(errors["ttft_mean"]) <= 0.015


@pytest.mark.parametrize(("fitted", "judged"), [(QWEN_12, QWEN_30), (QWEN_30, QWEN_12)])
def test_a_load_that_nobody_fitted(fitted: str, judged: str, logs: Path, repository: Path) -> None:
    """The question that a simulator is for; fitted anew."""
    seen, unseen = (read_log(logs / f"{name}.jsonl.gz") for name in (fitted, judged))
    model, _ = fit([Part.whole(seen)], {**seen.settings, "prefix_caching": False})
    errors = errors_on(model, Part.whole(unseen))
    assert abs(errors["e2e_mean"]) <= 0.05
    assert errors["e2e_mape"] <= 0.10
    assert abs(errors["ttft_mean"]) <= 0.08
    assert row_of(repository, model="h100-qwen2.5-3b", fitted_on=fitted)["judged_on"] == judged


def test_two_loads_together(logs: Path, repository: Path) -> None:
    model = load_engine("h100-qwen2.5-3b")
    for name in (QWEN_12, QWEN_30):
        errors = errors_on(model, Part.whole(read_log(logs / f"{name}.jsonl.gz")))
        row = row_of(repository, model=model.name, judged_on=name, fitted_on="all logs")
        assert_same(errors, row)
        if name == QWEN_30:
            assert errors["e2e_mape"] <= 0.055


def test_a_curve_as_measured_with_nothing_fitted(logs: Path, repository: Path) -> None:
    """llama.cpp on two cores, whose own times differ by over 10 % from run to run."""
    log = read_log(logs / "llamacpp_2cores_SmolLM2-135M_0.8rps.jsonl.gz")
    curve = ((1, 0.0095), (2, 0.0172), (3, 0.0248), (4, 0.0272), (16, 0.055))
    result = calibrate([log], sweep=curve, sequences=4, lookahead=False)
    (row,) = result.judgements
    assert abs(row.errors["e2e_mean"]) <= 0.1
    assert abs(row.errors["tpot_mean"]) <= 0.05
    assert_same(row.errors, row_of(repository, model="llama.cpp (not bundled)"))


def test_every_bundled_model_has_its_errors_in_the_summary(repository: Path) -> None:
    for model in {row["model"] for row in summary(repository)} - {"llama.cpp (not bundled)"}:
        engine = load_engine(model)
        rows = [r for r in summary(repository) if r["model"] == model and r["fitted"] == "False"]
        rows = [row for row in rows if row["fitted_on"] != "nothing: data sheet"]
        worst = max((float(row["e2e_mean"]) for row in rows), key=abs)
        assert 100 * engine.errors["e2e_mean"] == pytest.approx(worst, abs=0.01)
