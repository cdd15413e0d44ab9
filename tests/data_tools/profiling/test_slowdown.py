import json

import numpy as np
import pytest

from data_tools.backends.models import load_model
from data_tools.profiling.slowdown import (
    StepTimeFit,
    fit_step_time,
    measure_slowdown,
    write_slowdown,
)


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
def curve(tiny_model):
    loaded = load_model(str(tiny_model), device="cpu", dtype="float32")
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
    with pytest.raises(ValueError, match=f"{setting} must be at least 1, got 0"):
        measure_slowdown(loaded, (1, 2), **{setting: 0})
