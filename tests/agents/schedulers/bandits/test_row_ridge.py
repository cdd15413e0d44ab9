"""The regression over rows says what the plain one says; playing unseen is playing by steps."""

import numpy as np
import pandas as pd
import pytest

from agents import make_agent
from agents.experiments.episode import play_steps
from agents.registry import BANDITS
from agents.schedulers.bandits.compiled.lowest import take_lowest
from agents.schedulers.bandits.linear import with_intercept
from agents.schedulers.bandits.models.ridge import REFRESH, Ridge
from agents.schedulers.bandits.models.row_ridge import RowRidge
from tests.agents.schedulers.bandits.test_bandits import LEARNERS, make_env

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(400, 6)).astype(np.float32)


@pytest.mark.parametrize("ridge", [1.0, 1e-8])
def test_it_is_the_plain_regression(ridge: float) -> None:
    plain, model = Ridge(7, ridge), RowRidge(6, ridge)
    model.attach(TABLE)
    rng = np.random.default_rng(1)
    for step in range(REFRESH // 2 + 300):  # beyond an inversion from scratch, and many slots
        rows = rng.integers(len(TABLE), size=3)
        features = with_intercept(TABLE[rows])
        plain.add_design(features[:2])
        model.add_rows(rows[:2])
        times = rng.lognormal(size=3)
        plain.add_times(features, times)
        model.learn_rows(rows, times)
        if step % 50 < 2:
            asked = rng.integers(len(TABLE), size=(5, 100)[step % 50])
            means, widths = model.assess(asked, True)
            x = with_intercept(TABLE[asked])
            assert means == pytest.approx(plain.mean(x), rel=1e-6, abs=1e-9)
            assert widths == pytest.approx(plain.width(x), rel=1e-6)
    assert model.theta == pytest.approx(plain.theta, rel=1e-6)
    kept = model.state()
    assert kept["ridge_design"] == pytest.approx(plain.design)
    again = RowRidge(6, ridge)
    again.restore({name: array.copy() for name, array in kept.items()})
    again.attach(TABLE)
    rows = np.arange(9)
    assert again.assess(rows, True)[1] == pytest.approx(model.assess(rows, True)[1])


def test_features_that_are_no_rows() -> None:
    plain, model = Ridge(7, 1.0), RowRidge(6, 1.0)
    model.attach(TABLE)
    model.add_rows(np.arange(5))
    plain.add_design(with_intercept(TABLE[:5]))
    x = RNG.normal(size=(3, 7))
    for regression in (plain, model):
        regression.add_design(x)
    rows = np.arange(5, 9)
    assert model.assess(rows, True)[1] == pytest.approx(plain.width(with_intercept(TABLE[rows])))


@pytest.mark.parametrize("env_id", ["EdgeCloud-Static-v0", "EdgeCloud-Continuous-v0"])
@pytest.mark.parametrize("name", [*BANDITS])
def test_playing_unseen_is_playing_by_steps(
    name: str, env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, rewards, predictions = [], [], []
    for alone in (True, False):
        env = make_env(env_id, duration=60.0, edge_slowdown=None)
        agent = make_agent(name, **LEARNERS[name])
        if not alone:
            monkeypatch.setattr(type(agent), "plays_alone", False)
        rewards.append([*play_steps(env, agent, seed=3, agent_seed=4)])
        logs.append(env.unwrapped.request_log())
        predictions.append(agent.predicted_times())
    pd.testing.assert_frame_equal(*logs)
    assert rewards[0] == rewards[1]
    for first, second in zip(*predictions, strict=True):
        assert np.array_equal(first, second, equal_nan=True)


def test_the_lowest_are_taken() -> None:
    values = np.array([3.0, 1.0, 2.0, 1.0, 0.0])
    action = np.array([0, 0, 0, 0, 2, 0])
    take_lowest(values, 2, 1, action)
    assert action.tolist() == [0, 1, 0, 1, 2, 0]  # one was taken; of equals the first come first
    take_lowest(values, 1, 3, action)
    assert action.tolist() == [0, 1, 3, 1, 2, 0]
    take_lowest(np.array([5.0, 5.0]), 1, 1, fresh := np.zeros(2, np.int64))
    assert fresh.tolist() == [1, 0]
