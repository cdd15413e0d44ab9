"""Sweeps: what is measured at fixed concurrencies comes out as the engine's numbers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_tools.calibration.sweep import is_sweep_file, read_steps, steps_of
from data_tools.calibration.sweep_file import (
    IdleMeasurement,
    MixedMeasurement,
    RoundMeasurement,
    SweepFile,
)
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.files import UnreadableFileError

SERVER = EngineModel(
    step_overhead=0.0, step_floor=0.0, token_time=0.0, context_time=2e-6, sequences=8,
    step_times=((1, 0.010), (2, 0.012), (4, 0.016), (8, 0.020), (40, 0.090), (200, 0.400)),
)  # fmt: skip
HOST_BOUND = SERVER.replaced(
    step_times=((1, 0.006), (8, 0.008), (600, 0.060)), prefill_overhead=0.020
)


def sweep_of(
    server: EngineModel,
    concurrencies: tuple[int, ...] = (1, 2, 4, 8),
    lengths: tuple[int, ...] = (40, 200),
    noise: float = 0.0,
    cached: int = 0,
) -> SweepFile:
    """What a sweep of a server that is known would measure."""
    rng = np.random.default_rng(0)

    def noisy(time: float) -> float:
        return time * float(np.exp(noise * rng.standard_normal()))

    file = SweepFile(concurrencies, lengths, repeats=5)
    for repeat in range(5):
        beside = {"decoding": 3, "context": 3 * 60.0, "prompt": lengths[0]}
        file = file.with_mixed(
            MixedMeasurement(
                decoding=3,
                asked=lengths[0],
                repeat=repeat,
                prompt_tokens=lengths[0] + cached,
                cached_tokens=cached,
                step=noisy(server.step_time(**beside)) if server.sequences > 3 else None,
                context=3 * 60.0,
            )
        )
        for length in lengths:
            context = length + cached + 8.0
            file = file.with_idle(
                IdleMeasurement(
                    asked=length,
                    repeat=repeat,
                    prompt_tokens=length + cached,
                    cached_tokens=cached,
                    ttft=noisy(server.step_time(decoding=0, prompt=length)),
                    step=noisy(server.step_time(decoding=1, context=context)),
                    context=context,
                )
            )
        for n in concurrencies:
            together = min(n, server.sequences)
            step = noisy(server.step_time(decoding=n, context=72.0 * n))
            file = file.with_round(
                RoundMeasurement(
                    n, 40, repeat, together, step if together == n else None, 60, 72.0 * n
                )
            )
    return file


def test_finds_every_number_of_a_server() -> None:
    steps = steps_of(sweep_of(SERVER))
    np.testing.assert_allclose(steps.step_times, SERVER.step_times, rtol=1e-3)
    assert steps.context_time == pytest.approx(SERVER.context_time, rel=1e-3)
    assert steps.prefill_overhead == 0
    assert steps.sequences == 8
    assert steps.engine().sequences == 8
    assert "may run more sequences" in steps.notes[0]


def test_finds_how_many_run_at_a_time() -> None:
    steps = steps_of(sweep_of(SERVER.replaced(sequences=3), concurrencies=(1, 2, 3, 4, 8)))
    assert steps.sequences == 3
    assert max(tokens for tokens, _ in steps.step_times if tokens < 40) == 3
    assert steps.notes[0].startswith("3 of 8 requests decoded together")


def test_a_local_model_has_no_server_to_tell_about() -> None:
    about = {"source": "tiny", "hardware": "a card"}
    file = replace(sweep_of(SERVER), mixed=(), configuration=about)
    steps = steps_of(file)
    assert steps.notes == ()
    assert (steps.sequences, steps.mixed_batches) == (8, True)
    smaller = steps_of(replace(file, concurrencies=(1, 2, 4, 8, 16)))
    assert smaller.sequences == 8
    assert smaller.notes == ("sequences: 8, the largest size that was measured; 16 was asked for",)


def test_one_round_that_a_client_saw_late_does_not_count() -> None:
    file = sweep_of(SERVER.replaced(sequences=3), concurrencies=(1, 2, 3, 8))
    late = RoundMeasurement(8, 40, 5, 5, None, 0, 0)
    assert steps_of(file.with_round(late)).sequences == 3


def test_finds_the_least_time_of_a_prompt() -> None:
    steps = steps_of(sweep_of(HOST_BOUND, lengths=(16, 128, 600)))
    assert steps.prefill_overhead == pytest.approx(0.020)
    model = steps.engine()
    for decoding, prompt in ((1, 0), (8, 0), (4, 16), (0, 600)):
        there = HOST_BOUND.step_time(decoding=decoding, prompt=prompt)
        assert model.step_time(decoding=decoding, prompt=prompt) == pytest.approx(there, rel=0.01)


def test_lengths_that_are_alike_are_no_plateau() -> None:
    steps = steps_of(sweep_of(SERVER, lengths=(40, 47, 200)))
    assert steps.prefill_overhead == 0
    assert len(steps.step_times) == 7


def test_tokens_found_in_a_cache_are_not_computed() -> None:
    steps = steps_of(sweep_of(SERVER, cached=24))
    np.testing.assert_allclose(steps.step_times, SERVER.step_times, rtol=1e-3)
    assert steps.shared_prefix == 24
    assert steps.engine().shared_prefix == 24
    assert steps.engine(shared_prefix=8).shared_prefix == 8
    assert steps_of(sweep_of(SERVER)).shared_prefix == 0


@pytest.mark.parametrize("server", [SERVER, HOST_BOUND.replaced(prefill_overhead=0.0)])
@pytest.mark.parametrize("mixed", [True, False])
def test_finds_whether_prompts_are_read_in_one_batch_with_others(
    server: EngineModel, mixed: bool
) -> None:
    steps = steps_of(
        sweep_of(server.replaced(mixed_batches=mixed), lengths=(40, 600), noise=0.02, cached=24)
    )
    assert steps.mixed_batches == steps.engine().mixed_batches == mixed
    assert any(note.startswith("mixed_batches: false") for note in steps.notes) != mixed


def test_where_no_prompt_met_others_it_is_said() -> None:
    steps = steps_of(sweep_of(SERVER.replaced(sequences=3), concurrencies=(1, 2, 3)))
    assert steps.mixed_batches
    assert steps.notes[-1].startswith("mixed_batches: the sweep does not tell")
    older = replace(sweep_of(SERVER.replaced(mixed_batches=False)), mixed=())
    assert steps_of(older).mixed_batches


def test_noise_of_ten_per_cent_is_averaged() -> None:
    steps = steps_of(sweep_of(SERVER, noise=0.1))
    for (tokens, seconds), (known, real) in zip(steps.step_times, SERVER.step_times, strict=True):
        assert tokens == known
        assert seconds == pytest.approx(real, rel=0.15)
    assert np.all(np.diff([seconds for _, seconds in steps.step_times]) >= 0)


def test_one_prompt_length_does_not_tell_the_context() -> None:
    steps = steps_of(sweep_of(SERVER, lengths=(40,)))
    assert steps.context_time == 0
    assert any(note.startswith("context_time: not measured") for note in steps.notes)


def test_a_single_measurement_is_no_curve() -> None:
    with pytest.raises(ValueError, match="two concurrencies or prompt lengths"):
        steps_of(
            SweepFile((1,), (40,), repeats=1).with_round(RoundMeasurement(1, 40, 0, 1, 0.01, 60, 9))
        )


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = sweep_of(SERVER, noise=0.1).begun({"load_average": 0.1})
    path = tmp_path / "sweep.json"
    file.write(path)
    assert SweepFile.read(path) == file
    assert is_sweep_file(path)
    assert read_steps(path) == steps_of(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c.pop("rounds"), "rounds"),
        (lambda c: c["rounds"][0].update(step=0), "step 0: must be above 0"),
        (lambda c: c["rounds"][0].update(step="fast"), "step='fast': must be a number"),
        (lambda c: c["idle"][0].pop("ttft"), "ttft"),
        (lambda c: c["idle"][0].update(other=1), "other"),
        (lambda c: c.update(idle=3), "damaged"),
        (lambda c: c["mixed"][0].update(decoding=0), "decoding 0: must be above 0"),
    ],
)
def test_a_damaged_sweep_is_named(
    damage: Callable[[dict], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.json"
    sweep_of(SERVER).write(path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UnreadableFileError, match=rf"sweep\.json.*{message}"):
        read_steps(path)


def test_an_engine_needs_to_know_how_many_run_at_a_time() -> None:
    bare = SweepFile((), (40, 200), repeats=5, idle=sweep_of(SERVER).idle)
    steps = steps_of(bare)
    with pytest.raises(ValueError, match="sequences is needed"):
        steps.engine()
    assert steps.engine(sequences=5, lookahead=None).sequences == 5
