"""Steps of a local model over batch sizes and contexts: an engine model, resumable."""

from pathlib import Path

import pytest
import torch

from data_tools.backends.decode_modes import EagerDecoding
from data_tools.backends.models import LoadedModel, load_model
from data_tools.calibration.sweep import steps_of
from data_tools.profiling.local_sweep import STEPS, check_lengths, continue_sweep
from data_tools.profiling.run_file import ConfigurationChangedError

OVERHEAD, TOKEN, CONTEXT, READ = 0.004, 0.0005, 2e-6, 0.0003


@pytest.fixture(scope="module")
def loaded(tiny_model) -> LoadedModel:
    return load_model(str(tiny_model), device="cpu", dtype="float32")


class KnownDecoding(EagerDecoding):
    """Takes the times that it is told; does not fit where n times length exceeds the memory."""

    memory = 10**9
    calls = 0

    def timed(self, prompts: torch.Tensor, steps: int) -> tuple[float, list[float]]:
        KnownDecoding.calls += 1
        n, length = prompts.shape
        if n * length > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made = [OVERHEAD + TOKEN * n + CONTEXT * n * (length + 1 + steps / 2) for _ in range(steps)]
        return OVERHEAD + READ * n * length, made


def swept(path: Path, loaded: LoadedModel, decoding: KnownDecoding, **changes: object):
    settings = {
        "batch_sizes": (1, 2, 4),
        "context_lengths": (8, 40),
        "configuration": {"model": "tiny"},
        "conditions": {},
        "show_progress": False,
    }
    return continue_sweep(path, loaded, decoding, **(settings | changes))


def test_finds_what_steps_take(loaded: LoadedModel, tmp_path: Path) -> None:
    steps = steps_of(swept(tmp_path / "s.json", loaded, KnownDecoding(loaded)))
    assert steps.context_time == pytest.approx(CONTEXT, rel=0.01)
    times = dict(steps.step_times)
    for n in (1, 2, 4):
        assert times[n] == pytest.approx(OVERHEAD + TOKEN * n, rel=0.01)
    for length in (8, 40):
        assert times[length] == pytest.approx(OVERHEAD + READ * length, rel=0.01)
    assert steps.sequences == 4


def test_goes_on_where_it_stopped(loaded: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    decoding = KnownDecoding(loaded)

    class Interrupted(KnownDecoding):
        def timed(self, prompts: torch.Tensor, steps: int) -> tuple[float, list[float]]:
            if KnownDecoding.calls == 5:
                raise KeyboardInterrupt
            return super().timed(prompts, steps)

    KnownDecoding.calls = 0
    with pytest.raises(KeyboardInterrupt):
        swept(path, loaded, Interrupted(loaded))
    swept(path, loaded, decoding)
    assert KnownDecoding.calls == 3 * 3 * 2
    with pytest.raises(ConfigurationChangedError):
        swept(path, loaded, decoding, configuration={"model": "other"})


def test_what_does_not_fit_is_left_out(loaded: LoadedModel, tmp_path: Path) -> None:
    decoding = KnownDecoding(loaded)
    decoding.memory = 60
    file = swept(tmp_path / "s.json", loaded, decoding)
    measured = {(m.concurrency, m.asked) for m in file.rounds}
    assert measured == {(1, 8), (1, 40), (2, 8), (4, 8)}


def test_a_length_must_leave_room(loaded: LoadedModel) -> None:
    most = loaded.context_length - STEPS - 2
    assert check_lengths(loaded, [most, 3, 3]) == (3, most)
    with pytest.raises(ValueError, match=f"context_lengths={most + 1}"):
        check_lengths(loaded, [most + 1])


def test_a_real_model(loaded: LoadedModel, tmp_path: Path) -> None:
    file = swept(tmp_path / "s.json", loaded, EagerDecoding(loaded), batch_sizes=(1, 2))
    model = steps_of(file).engine(name="tiny")
    assert model.step_time(decoding=1) > 0
    assert model.sequences == 2
