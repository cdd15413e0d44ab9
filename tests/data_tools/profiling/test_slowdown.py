import json

import numpy as np
import pytest
import torch

from data_tools.backends.decode_modes import EagerDecoding
from data_tools.backends.models import load_model
from data_tools.profiling.curve import StepTimeFit, fit_step_time
from data_tools.profiling.profiler import profile_models
from data_tools.profiling.run_file import ConfigurationChangedError
from data_tools.profiling.slowdown import continue_slowdown, measure_slowdown, write_slowdown
from edgecloud_gym.dataset.slowdown import SlowdownFile


def test_a_straight_line_is_recovered():
    sizes = [1, 2, 4, 8, 16]
    fit = fit_step_time(sizes, 0.05 + 0.003 * np.array(sizes))
    assert (fit.a, fit.b) == pytest.approx((0.05, 0.003))
    assert fit.slowdown(3) == pytest.approx([1, 0.056 / 0.053, 0.059 / 0.053])


def test_errors_count_relatively():
    sizes = [1, 2, 4, 8, 16, 32]
    truth = 0.01 + 0.001 * np.array(sizes)
    noise = np.array([1.1, 1, 1, 1, 1, 1])
    scaled = fit_step_time(sizes, truth * noise)
    assert abs(scaled.step_time(np.array([32.0]))[0] / truth[-1] - 1) < 0.05


def test_a_falling_curve_is_flat_and_a_steep_one_proportional():
    flat = fit_step_time([1, 2, 4], np.array([1.02, 1.0, 0.98]))
    assert flat.b == 0
    assert flat.a == pytest.approx(1, rel=0.02)
    steep = fit_step_time([1, 2, 4], np.array([1.0, 2.2, 4.6]))
    assert steep.a == 0
    assert steep.slowdown(4) == pytest.approx([1, 2, 3, 4])


def test_slowdown_starts_at_exactly_one():
    assert StepTimeFit(0.1, 0.2).slowdown()[0] == 1.0
    assert StepTimeFit(0.1, 0.2).slowdown().shape == (64,)


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load_model(str(tiny_model), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def curve(loaded):
    return measure_slowdown(
        loaded, (4, 1, 2), context_length=8, steps=3, repeats=5, show_progress=False
    )


def test_every_size_is_measured_in_every_repetition(curve):
    assert curve.batch_sizes == (1, 2, 4)
    assert curve.step_times.shape == (5, 3)
    assert (curve.step_times > 0).all()
    assert curve.fit.a >= 0
    assert curve.fit.b >= 0
    assert curve.fit.a + curve.fit.b > 0


def test_the_file_tells_times_spread_fit_and_curve(curve, tmp_path):
    path = tmp_path / "slowdown.json"
    write_slowdown(path, curve, {"configuration": {"threads": 1}})
    content = json.loads(path.read_text())
    assert content["batch_sizes"] == [1, 2, 4]
    assert content["configuration"] == {"threads": 1}
    for (low, high), middle in zip(
        content["step_time_quartiles"], content["step_time"], strict=True
    ):
        assert low <= middle <= high
    a, b = content["a"], content["b"]
    assert content["slowdown"][0] == 1
    assert content["slowdown"][9] == pytest.approx((a + 10 * b) / (a + b))


@pytest.mark.parametrize("sizes", [(), (4,), (3, 3), (0, 1)])
def test_fewer_than_two_sizes_are_refused(tiny_model, sizes):
    loaded = load_model(str(tiny_model), device="cpu")
    with pytest.raises(ValueError, match="batch_sizes"):
        measure_slowdown(loaded, sizes)


@pytest.mark.parametrize("setting", ["context_length", "steps", "repeats"])
def test_settings_below_one_are_refused(tiny_model, setting):
    loaded = load_model(str(tiny_model), device="cpu")
    with pytest.raises(ValueError, match=f"{setting}=0: must be an integer >= 1"):
        measure_slowdown(loaded, (1, 2), **{setting: 0})


class FakeSteps:
    """Stands in for the measurement: a step of n takes n s; sizes from a limit on do not fit.

    Attributes:
        tried: The sizes asked for, in order.
    """

    def __init__(self, limit=10**9, interrupt_after=None):
        self.tried = []
        self.limit = limit
        self.interrupt_after = interrupt_after

    def __call__(self, prompts, steps):
        size = len(prompts)
        if len(self.tried) == self.interrupt_after:
            raise KeyboardInterrupt
        self.tried.append(size)
        if size >= self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")
        return 0.0, [float(size)] * steps


def fake(monkeypatch, **settings):
    steps = FakeSteps(**settings)
    monkeypatch.setattr(EagerDecoding, "timed", lambda _, *arguments: steps(*arguments))
    return steps


def grow(path, loaded, sizes=(1, 2, 4), configuration=None):
    return continue_slowdown(
        path, loaded, sizes, configuration or {"model": "m"}, {}, show_progress=False
    )


def test_a_size_that_does_not_fit_costs_only_itself_and_larger_ones(loaded, monkeypatch):
    steps = fake(monkeypatch, limit=512)
    with pytest.warns(UserWarning, match=r"512 does not fit .*; 1024 not tried\. .*bfloat16"):
        curve = measure_slowdown(loaded, (1, 16, 512, 1024), repeats=3, show_progress=False)
    assert curve.batch_sizes == (1, 16)
    assert curve.step_times.tolist() == [[1.0, 16.0]] * 3
    assert steps.tried.count(512) == 1
    assert 1024 not in steps.tried
    assert curve.did_not_fit[512].startswith("out of memory: CUDA out of memory")
    assert curve.did_not_fit[1024] == "not tried: 512 did not fit"


def test_one_size_is_no_curve(loaded, monkeypatch):
    fake(monkeypatch, limit=2)
    with (
        pytest.warns(UserWarning, match="2 does not fit"),
        pytest.raises(MemoryError, match="needs two sizes that fit"),
    ):
        measure_slowdown(loaded, (1, 2), show_progress=False)


def test_a_defect_is_not_taken_for_a_lack_of_memory(loaded, monkeypatch):
    def broken(*_args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(EagerDecoding, "timed", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        measure_slowdown(loaded, (1, 2), show_progress=False)


def test_an_interrupted_curve_is_saved_and_goes_on(loaded, monkeypatch, tmp_path):
    path = tmp_path / "c.slowdown.json"
    fake(monkeypatch, interrupt_after=3 + 3 * 3 + 1)  # the warm-up, three repetitions, one more
    with pytest.raises(KeyboardInterrupt):
        grow(path, loaded)
    file = SlowdownFile.read(path)
    assert sum(map(len, file.step_time_repeats)) == 10
    assert file.slowdown[0] == 1

    steps = fake(monkeypatch)
    grow(path, loaded)
    assert len(steps.tried) == 3 + 3 * 8 - 10
    assert [len(times) for times in SlowdownFile.read(path).step_time_repeats] == [8, 8, 8]

    steps = fake(monkeypatch)
    assert grow(path, loaded).step_times.shape == (8, 3)
    assert steps.tried == []
    grow(path, loaded, (8, 16))  # more sizes
    assert set(steps.tried) == {8, 16}
    assert SlowdownFile.read(path).batch_sizes == [1, 2, 4, 8, 16]


def test_a_curve_of_another_configuration_is_not_mixed_in(loaded, monkeypatch, tmp_path):
    path = tmp_path / "c.slowdown.json"
    fake(monkeypatch)
    grow(path, loaded)
    with pytest.raises(ConfigurationChangedError, match="model: recorded 'm', now 'other'"):
        grow(path, loaded, configuration={"model": "other"})


def test_the_profiler_keeps_the_prompts_and_the_sizes_that_fit(tiny_model, tmp_path, monkeypatch):
    fake(monkeypatch, limit=4)
    with pytest.warns(UserWarning, match="batch size 4 does not fit"):
        (path,) = profile_models(
            {"Tiny": str(tiny_model)}, ["list three"], tmp_path, max_new_tokens=2, device="cpu",
            batch_sizes=(1, 2, 4, 8), show_progress=False,
        )  # fmt: skip
    file = SlowdownFile.read(path.with_suffix(".slowdown.json"))
    assert file.batch_sizes == [1, 2]
    assert set(file.did_not_fit) == {"4", "8"}
