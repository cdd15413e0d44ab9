"""A short comparison of a live run with its simulation, on servers whose steps sleep."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.nodes import Engine
from tests.agents.gateway.sim_to_real.publishing import publish, show
from tests.agents.gateway.sim_to_real.servers import BACKLOG, RTT, STAND_INS, delayed, servers
from tests.agents.gateway.sim_to_real.slices import SLICES, sliced, switches
from tests.agents.gateway.sim_to_real.study import Study, _contradict, _noise
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
        study = Study(nodes, [*urls[:2], cloud], tmp_path, 3.0, encode, {"Poisson": None}, runs=1)
        table = study.compare(["join-shortest-queue"])
        again = study.compare(["join-shortest-queue"])  # nothing is measured twice
    assert again["jct_mean_live"].tolist() == table["jct_mean_live"].tolist()
    row = table.iloc[0]
    # A busy machine makes the live run slower; a defect makes it another order of magnitude.
    assert 0.7 < row["jct_mean_live"] / row["jct_mean_sim"] < 4.0
    for folder in ("data", "assets"):
        (tmp_path / folder).mkdir()
    show(table)
    publish(table, tmp_path)
    assert (tmp_path / "data" / "live.csv").read_text().startswith("arrivals,agent,rate,requests")
    assert (tmp_path / "assets" / "live.png").stat().st_size > 10_000


def test_what_is_beyond_chance_is_told_from_the_machine() -> None:
    assert _noise([[1.0], [2.0]]) == 0.0  # nothing to tell it by
    # Of 0.9 and 1.1 the standard deviation is 0.1 times the root of 2, of 4 and 4 nothing.
    assert _noise([[0.9, 1.1], [4.0, 4.0]]) == pytest.approx(0.1)
    steady = np.linspace(0.9, 1.1, 8)
    quick, slow = [steady, steady], [1.2 * steady, 1.2 * steady]
    for noise, contradicted in ((0.02, True), (0.3, False)):
        one, other = ({"jct_mean_sim": 1.2}, quick), ({"jct_mean_sim": 1.0}, slow)
        assert _contradict(one, other, noise) is contradicted
        assert _contradict(other, one, noise) is contradicted
    agreed = ({"jct_mean_sim": 0.9}, quick), ({"jct_mean_sim": 1.0}, slow)
    assert not _contradict(*agreed, 0.0)


def test_slices_of_a_core_do_not_overlap() -> None:
    plan = switches([(number, part.begin, part.end) for number, part in enumerate(SLICES.values())])
    running: set[int] = set()
    for _ in range(2):  # in the second period everybody has begun
        for _, process, what in plan:
            (running.add if what == signal.SIGCONT else running.discard)(process)
            cores = [part.core for n, part in enumerate(SLICES.values()) if n in running]
            assert len(cores) == len(set(cores))
    # The last core keeps time for the gateway.
    shares = [sum(p.end - p.begin for p in SLICES.values() if p.core == core) for core in (0, 1)]
    assert shares == pytest.approx([1.0, 0.5])


def state(process: int) -> str:
    """How a process is: T if it is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_servers_run_in_their_slices_and_freely_thereafter() -> None:
    servers = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    slices = [SLICES["edge-a"], SLICES["edge-b"]]
    try:
        with sliced([(s.pid, part) for s, part in zip(servers, slices, strict=True)]):
            seen: set[tuple[int, bool]] = set()
            for _ in range(2000):
                seen |= {(s.pid, state(s.pid) == "T") for s in servers}
                if len(seen) == 4:  # each has been seen stopped, and not
                    break
                time.sleep(0.005)
            assert len(seen) == 4
        assert "T" not in {state(s.pid) for s in servers}
    finally:
        for server in servers:
            server.kill()
            server.wait()
