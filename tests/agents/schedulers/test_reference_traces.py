"""The paper's own simulators, reproduced request by request (see `../reference_traces`)."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SHORT = Path(__file__).parents[1] / "reference_traces"
TRACES = [
    f"{setting}_{policy}"
    for setting in ("a_lam3_k4_e1_c8", "b_lam2.5_k3_e2_c4")
    for policy in ("fcfs", "round_robin", "least_connections", "queue_length")
]
TOLERANCE = 1e-9  # s
HORIZON = 600.0  # s, of the long traces

Play = Callable[..., pd.DataFrame]


def play_as(name: str, expected: pd.DataFrame, play_static: Play, **settings: Any) -> pd.DataFrame:
    """Plays a trace's policy on its requests, in the setting that its name tells."""
    batch, edge, cloud = map(int, re.findall(r"_[kec](\d+)", name))
    return play_static(
        name.split(f"_c{cloud}_")[1].replace("_", "-"),
        expected["arrival_time"].to_numpy(),
        expected["base_latency"].to_numpy(),
        edge=edge,
        batch=batch,
        cloud=cloud,
        **settings,
    )


def assert_same(log: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Asserts that nodes are equal, times within the tolerance, and nothing is left out."""
    assert len(log) == len(expected) > 100
    assert log["node"].tolist() == expected["node"].tolist()
    for column in ("arrival_time", "start_time", "completion_time"):
        assert (log[column] - expected[column]).abs().max(skipna=False) <= TOLERANCE, column


@pytest.mark.parametrize("name", TRACES)
def test_short_trace(name: str, play_static: Play) -> None:
    expected = pd.read_csv(SHORT / f"{name}.csv")
    assert_same(play_as(name, expected, play_static), expected)


@pytest.mark.parametrize("name", TRACES)
def test_short_trace_up_to_a_horizon(name: str, play_static: Play) -> None:
    """Arrivals end and the episode is truncated while requests wait and run."""
    horizon = 90.0
    expected = pd.read_csv(SHORT / f"{name}.csv")
    log = play_as(name, expected, play_static, duration=horizon, drain=False)
    expected = expected[expected["arrival_time"] < horizon]
    started = expected["start_time"] <= horizon
    done = expected["completion_time"] <= horizon
    assert not done.all()
    assert log["start_time"].notna().tolist() == started.tolist()
    assert log["completion_time"].notna().tolist() == done.tolist()
    assert log["node"][started].tolist() == expected["node"][started].tolist()
    assert (log["start_time"] - expected["start_time"])[started].abs().max() <= TOLERANCE
    assert_same(log[done], expected[done])


@pytest.mark.parametrize("drain", [True, False], ids=["drain", "horizon"])
@pytest.mark.parametrize("name", TRACES)
def test_long_trace(name: str, drain: bool, shared_dir: Path, play_static: Play) -> None:
    expected = pd.read_csv(shared_dir / "reference" / f"{name}.csv.gz")
    log = play_as(name, expected, play_static, duration=HORIZON, drain=drain)
    assert len(log) == len(expected)
    # It served whom it could within the horizon, and wrote down when those would be done.
    started = expected["node"].notna()
    assert (log["start_time"] <= HORIZON).tolist() == started.tolist()
    done = started if drain else expected["completion_time"] <= HORIZON
    assert_same(log[done], expected[done])
