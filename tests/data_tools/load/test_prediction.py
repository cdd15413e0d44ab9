"""A sweep predicts loads that nobody measured, an overload among them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.calibration import Calibration, calibrate, read_log
from data_tools.calibration.sweep import steps_of
from data_tools.calibration.sweep_file import IdleMeasurement, SweepFile
from data_tools.load.open_loop import OpenLoop, PlannedRequest, asking
from data_tools.load.plan import arrival_times
from data_tools.load.prompts import TokenScale, random_words
from data_tools.load.records import RequestRecord
from data_tools.load.server import ServerTraits
from data_tools.load.summary import summarise
from data_tools.load.sweep import COMERS, REPEATS, run_sweep
from tests.data_tools.load.virtual import (
    TEMPLATE,
    StepTime,
    VirtualLoop,
    VirtualServer,
    run_virtually,
)

# As llama.cpp's on two cores, with contexts that count.
CURVE = ((1, 2, 3, 4, 16, 40, 300), (9.5e-3, 17.2e-3, 24.8e-3, 27.2e-3, 55e-3, 0.12, 0.85))
CONTEXT_TIME = 4e-6
SEQUENCES = 4
TRAITS = ServerTraits(extra={}, scale=TokenScale(base=TEMPLATE, per_word=1.0))
LOADS = (0.5, 1.3)  # of the capacity


def step_time(batches: Sequence[int], context: int) -> float:
    return float(np.interp(batches, *CURVE).sum()) + CONTEXT_TIME * context


def noisy(share: float) -> StepTime:
    """Steps of a machine that does other things as well."""
    rng = np.random.default_rng(1)

    def noisy_time(batches: Sequence[int], context: int) -> float:
        return step_time(batches, context) * float(np.exp(share * rng.standard_normal()))

    return noisy_time


def sizes(times: np.ndarray, seed: int) -> list[PlannedRequest]:
    rng = np.random.default_rng(seed)
    return [
        PlannedRequest(
            float(at), random_words(int(rng.integers(8, 120)), rng), int(rng.integers(2, 129))
        )
        for at in times
    ]


def measured(
    folder: Path, steps: StepTime, monkeypatch: pytest.MonkeyPatch, **server_is: Any
) -> tuple[Calibration, SweepFile]:
    """Sweeps a server, loads it at two rates, and predicts the loads."""
    blank = SweepFile((1, 2, 3, 4, 6), (21, 45, 130, 305), repeats=REPEATS)

    async def sweep(loop: VirtualLoop) -> SweepFile:
        server = VirtualServer(loop, steps, SEQUENCES, **server_is)
        kept: list[SweepFile] = []
        return await run_sweep(server, TRAITS, blank, save=kept.append, advance=kept.append)

    file = run_virtually(sweep)
    found = steps_of(file)
    capacity = found.engine(lookahead=False).capacity(64 + TEMPLATE, 65)
    logs = []
    for seed, share in enumerate(LOADS):
        times = arrival_times(share * capacity, 200.0, 10_000, seed)
        records: list[RequestRecord] = []

        async def load(
            loop: VirtualLoop, times: np.ndarray = times, keep: list[RequestRecord] = records
        ) -> None:
            monkeypatch.setattr("data_tools.load.open_loop.now", loop.time)
            server = VirtualServer(loop, steps, SEQUENCES, **server_is)
            plan = sizes(times, 7)
            await OpenLoop(asking(server), plan, most_in_flight=10_000, on_record=keep.append).run()

        run_virtually(load)
        assert summarise(records).statuses == {"ok": len(times)}
        path = folder / f"load_{share}.jsonl"
        path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records))
        logs.append(read_log(path))
    waiting = [float(np.mean(log.outstanding_at(log.sent) > SEQUENCES)) for log in logs]
    assert waiting[0] < 0.3
    assert waiting[1] > 0.8  # it is overloaded
    return calibrate(logs, sweep=found, lookahead=False), file


def quicker(measurement: Any) -> Any:
    times = {"step": measurement.step and measurement.step / 1.5}
    if isinstance(measurement, IdleMeasurement):
        times["ttft"] = measurement.ttft / 1.5
    return replace(measurement, **times)


def test_a_sweep_predicts_other_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fitted, so that what is left is how far a curve through few points is off."""
    result, _ = measured(tmp_path, step_time, monkeypatch)
    assert result.model.sequences == SEQUENCES
    assert result.model.context_time == pytest.approx(CONTEXT_TIME, rel=0.05)
    for row in result.judgements:
        assert not row.fitted
        assert abs(row.errors["e2e_mean"]) < 0.02
        assert abs(row.errors["tpot_mean"]) < 0.02
        assert abs(row.errors["ttft_mean"]) < 0.03


@pytest.mark.parametrize(
    "server", [{"cached": 4, "mixed": False}, {"mixed": False}, {"cached": 4}], ids=str
)
def test_what_a_server_has_in_its_cache_and_how_it_batches_is_found(
    server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, file = measured(tmp_path, step_time, monkeypatch, **server)
    assert result.model.shared_prefix == server.get("cached", 0)
    assert result.model.mixed_batches == server.get("mixed", True)
    assert len(file.mixed) == COMERS * REPEATS
    for row in result.judgements:
        assert abs(row.errors["e2e_mean"]) < 0.02
        assert abs(row.errors["tpot_mean"]) < 0.02
        assert abs(row.errors["ttft_mean"]) < 0.03
    if not result.model.mixed_batches:  # it matters: the other way the same loads are missed
        logs = [read_log(tmp_path / f"load_{share}.jsonl") for share in LOADS]
        other = replace(steps_of(file), mixed_batches=True)
        for row in calibrate(logs, sweep=other, lookahead=False).judgements:
            assert row.errors["e2e_mean"] < -0.015
            assert row.errors["ttft_mean"] < -0.025


def test_noise_of_the_machine_is_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By 6 %, drawn anew for each step: the goals of a real machine hold."""
    result, _ = measured(tmp_path, noisy(0.06), monkeypatch)
    for row in result.judgements:
        assert abs(row.errors["e2e_mean"]) < 0.08
        assert abs(row.errors["tpot_mean"]) < 0.05
        assert abs(row.errors["ttft_mean"]) < 0.20


def test_a_server_that_slowed_down_after_the_sweep_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test can fail: an engine that is a third too quick misses the loads."""
    _, file = measured(tmp_path, step_time, monkeypatch)
    times = {kind: tuple(map(quicker, getattr(file, kind))) for kind in ("idle", "rounds", "mixed")}
    faster = steps_of(replace(file, **times))
    logs = [read_log(tmp_path / f"load_{share}.jsonl") for share in LOADS]
    for row in calibrate(logs, sweep=faster, lookahead=False).judgements:
        assert row.errors["tpot_mean"] < -0.2
        assert row.errors["e2e_mean"] < -0.2
