"""The reference's own traces, reproduced request by request."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

TRACES = [
    f"{case}_{policy}.csv.gz"
    for case in ("a_lam3_k4_e1_c8", "b_lam2.5_k3_e2_c4")
    for policy in ("fcfs", "round_robin", "least_connections", "queue_length")
]


@pytest.mark.parametrize("drain", [True, False], ids=["drain", "horizon"])
@pytest.mark.parametrize("name", TRACES)
def test_reference_trace(
    shared_dir: Path,
    play_static: Callable[..., pd.DataFrame],
    assert_same_log: Callable[..., None],
    name: str,
    drain: bool,
) -> None:
    expected = pd.read_csv(shared_dir / "reference" / name)
    batch, edge, cloud = map(int, re.findall(r"_[kec](\d+)", name))
    agent = name.split(f"_c{cloud}_")[1].removesuffix(".csv.gz").replace("_", "-")
    log = play_static(
        agent,
        expected["arrival_time"].to_numpy(),
        expected["base_latency"].to_numpy(),
        edge=edge,
        batch=batch,
        cloud=cloud,
        drain=drain,
    )
    assert_same_log(log, expected)
