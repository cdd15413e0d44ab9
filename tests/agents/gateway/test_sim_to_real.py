"""A short comparison of a live run with its simulation, on servers whose steps sleep."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.nodes import Engine
from tests.agents.gateway.sim_to_real import BACKLOG, RTT, STAND_INS, Study, delayed, servers
from tests.agents.gateway.support import encode


def test_a_live_run_takes_about_as_long_as_its_simulation(tmp_path: Path) -> None:
    nodes = [
        Engine(
            name,
            model=EngineModel(
                step_overhead=overhead, step_floor=0.0, token_time=per_token, context_time=0.0,
                sequences=sequences, lookahead=False,
            ),
            backlog=BACKLOG,
            network_rtt=RTT if name == "cloud" else 0.0,
        )
        for name, (overhead, per_token, sequences) in STAND_INS.items()
    ]  # fmt: skip
    with servers(stand_in=True) as urls, delayed(urls[2], RTT) as cloud:
        study = Study(nodes, [*urls[:2], cloud], tmp_path, 3.0, encode)
        rows = study.compare(["join-shortest-queue"])
        again = study.compare(["join-shortest-queue"])  # nothing is measured twice
    row = rows["join-shortest-queue"]
    assert again["join-shortest-queue"]["live"] == row["live"]
    # A busy machine makes the live run slower; a defect makes it another order of magnitude.
    assert row["simulated"]["jct_mean"] == pytest.approx(row["live"]["jct_mean"], rel=0.4)
