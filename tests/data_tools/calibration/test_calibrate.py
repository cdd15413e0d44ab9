"""Calibration finds the server that wrote a log, and does not claim what it cannot know."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from data_tools.calibration import Log, calibrate, read_log, read_sweep
from data_tools.calibration.errors import simulated
from data_tools.calibration.fit import minimise
from edgecloud_gym.engines import EngineModel, load_engine
from edgecloud_gym.files import UnreadableFileError
from tests.data_tools.calibration.support import SERVER, dynamo, requests, vllm

# Few resamples: the tests of intervals need no more.
KNOWN: dict[str, Any] = {
    "sequences": 32,
    "kv_tokens": 40_000,
    "resamples": 4,
    "reserve_prompt": True,
    "prefix_caching": True,
}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return read_log(vllm(tmp_path, requests(5.0, n=80)))


@pytest.fixture
def fitted_roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits from fewer places, for tests that do not ask how well."""
    monkeypatch.setattr("data_tools.calibration.fit.GUESSES", 20)
    monkeypatch.setattr("data_tools.calibration.fit.SEARCHES", 1)
    monkeypatch.setattr("data_tools.calibration.identify.RESAMPLES", 2)


def test_finds_the_server_that_wrote_two_logs(tmp_path: Path, log: Log) -> None:
    other = read_log(vllm(tmp_path, requests(12.0, n=80, seed=1)))
    result = calibrate([log, other], name="mine", **KNOWN)
    model = result.model
    assert model.lookahead
    assert model.context_time == pytest.approx(SERVER.context_time, rel=0.1)
    assert model.prefill_overhead == pytest.approx(SERVER.prefill_overhead, rel=0.05)
    assert model.token_time == pytest.approx(SERVER.token_time, rel=0.1)
    together = model.step_overhead + model.step_floor
    assert together == pytest.approx(SERVER.step_overhead + SERVER.step_floor, rel=0.05)
    assert abs(model.errors["e2e_mean"]) < 0.04
    assert model.errors["e2e_mape"] < 0.05
    assert [row.fitted for row in result.judgements] == [True, True, False, False]
    for name, span in model.intervals.items():
        if span is not None:
            assert span[0] <= getattr(SERVER, name) * 1.1, name
            assert span[1] >= getattr(SERVER, name) * 0.9, name


@pytest.mark.usefixtures("fitted_roughly")
def test_one_log_is_judged_on_the_requests_not_fitted(log: Log) -> None:
    result = calibrate([log], lookahead=True, **KNOWN)
    fitted, judged = result.judgements
    assert (fitted.fitted, judged.fitted) == (True, False)
    assert result.model.errors == pytest.approx(dict(judged.errors), abs=1e-5)
    assert judged.errors["e2e_mape"] < 0.02


@pytest.mark.usefixtures("fitted_roughly")
def test_finds_that_steps_are_not_composed_ahead(tmp_path: Path) -> None:
    server = SERVER.replaced(lookahead=False)
    log = read_log(vllm(tmp_path, requests(5.0, n=80, server=server)))
    assert not calibrate([log], **KNOWN).model.lookahead


def test_requests_that_never_meet_are_refused(tmp_path: Path) -> None:
    log = read_log(vllm(tmp_path, requests(0.0005, n=20)))
    with pytest.raises(ValueError, match="never more than one request at a time"):
        calibrate([log], sequences=8)


@pytest.mark.usefixtures("fitted_roughly")
def test_a_number_that_leaves_no_trace_is_not_given(tmp_path: Path) -> None:
    server = SERVER.replaced(prefill_overhead=0.0, context_time=0.0)
    log = read_log(vllm(tmp_path, requests(5.0, n=80, server=server, noise=0.05)))
    result = calibrate([log], lookahead=True, **KNOWN)
    for name in ("prefill_overhead", "context_time"):
        assert result.model.intervals[name] is None
        assert getattr(result.model, name) == 0
        assert any(note.startswith(f"{name}: not identified") for note in result.notes)


@pytest.mark.usefixtures("fitted_roughly")
def test_says_what_the_log_cannot_tell(tmp_path: Path) -> None:
    rows = requests(40.0, n=100)
    log = read_log(vllm(tmp_path, rows))
    notes = calibrate([log], sequences=2, lookahead=True, batched_tokens=4096, resamples=2).notes
    assert any("saturated throughout" in note for note in notes)
    assert any("no prompt longer than batched_tokens=4096" in note for note in notes)


@pytest.mark.usefixtures("fitted_roughly")
def test_a_sweep_is_taken_as_measured(log: Log) -> None:
    curve = ((1.0, 0.008), (32.0, 0.009), (2048.0, 0.09))
    result = calibrate([log], sweep=curve, lookahead=True, **KNOWN)
    assert result.model.step_times == curve
    assert not any(row.fitted for row in result.judgements)
    assert set(result.model.intervals.values()) == {None}


def test_cached_tokens_are_context_that_costs_no_time_to_read(tmp_path: Path) -> None:
    """Where context costs nothing, requests are as if their prompts were without them."""
    rows = requests(5.0, n=30)
    plain = read_log(vllm(tmp_path, rows))
    cached = read_log(dynamo(tmp_path, rows))  # 64 tokens more of each prompt, found in a cache
    assert (cached.prompt - plain.prompt).tolist() == [64] * 30
    free = SERVER.replaced(context_time=0.0, kv_tokens=None)
    np.testing.assert_allclose(
        simulated(free, cached).e2e, simulated(free, plain).e2e, rtol=0, atol=1e-5
    )
    costly = free.replaced(context_time=1e-6)
    longer = simulated(costly, cached).decoding - simulated(costly, plain).decoding
    assert longer.mean() > 64e-6 * (plain.output - 1).mean()  # of each one's own context, at least
    # What a log says goes before what the model has of all prompts.
    np.testing.assert_array_equal(
        simulated(free.replaced(shared_prefix=500), cached).e2e, simulated(free, cached).e2e
    )
    assert np.all(
        simulated(free.replaced(shared_prefix=500), plain).ttft <= simulated(free, plain).ttft
    )


@pytest.mark.usefixtures("fitted_roughly")
def test_what_nearly_all_prompts_share_is_found_in_the_log(tmp_path: Path) -> None:
    log = read_log(dynamo(tmp_path, requests(5.0, n=12)))
    result = calibrate([log], sequences=32, lookahead=True, resamples=1)
    assert result.model.shared_prefix == 64
    assert any(note.startswith("shared_prefix=64: 90 %") for note in result.notes)
    curve = ((1.0, 0.008), (32.0, 0.009))
    assert calibrate([log], sweep=curve, shared_prefix=7, **KNOWN).model.shared_prefix == 7


def test_settings_that_contradict_are_refused(tmp_path: Path, log: Log) -> None:
    with pytest.raises(ValueError, match="sequences is needed"):
        calibrate([log])
    with pytest.raises(TypeError, match="unknown setting 'sequence'"):
        calibrate([log], sequence=3)
    with pytest.raises(ValueError, match=r"request \d+ needs \d+ tokens in the cache"):
        calibrate([log], sequences=32, kv_tokens=160)
    a = read_log(vllm(tmp_path, requests(5.0, n=20), max_num_seqs=8))
    b = read_log(vllm(tmp_path, requests(5.0, n=20), max_num_seqs=16))
    with pytest.raises(ValueError, match="sequences: the logs say 8 and 16"):
        calibrate([a, b])


def test_sweeps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("tokens,seconds\n1,0.0095\n4,0.0272\n")
    assert read_sweep(path) == ((1.0, 0.0095), (4.0, 0.0272))
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UnreadableFileError, match="a sweep is a CSV with columns tokens"):
        read_sweep(path)


def test_the_simplex_finds_the_bottom_of_a_valley() -> None:
    """Rosenbrock's banana, from its classic start."""

    def banana(x: np.ndarray) -> float:
        return float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)

    point, value = minimise(banana, np.array([-1.2, 1.0]), 400)
    np.testing.assert_allclose(point, [1, 1], atol=1e-2)
    assert value < 1e-4


@pytest.mark.usefixtures("fitted_roughly")
def test_the_command_prints_draws_and_writes(tmp_path: Path) -> None:
    from agents.cli.app import make_app

    app = make_app()
    path = vllm(tmp_path, requests(5.0, n=40))
    output = tmp_path / "mine.json"
    ran = CliRunner().invoke(
        app, ["calibrate", str(path), "--sequences", "32", "--lookahead", "-o", str(output)]
    )
    assert ran.exit_code == 0, ran.output
    assert "Errors (%)" in ran.output
    model = load_engine(output)
    assert isinstance(model, EngineModel)
    assert model.name == "mine"
    assert set(model.errors) >= {"e2e_mean", "e2e_mape", "ttft_mean", "tpot_mean"}
    assert output.with_suffix(".png").stat().st_size > 1000
    ran = CliRunner().invoke(app, ["calibrate", str(path), "-o", str(output)])
    assert ran.exit_code == 2
    assert "sequences is needed" in ran.output
