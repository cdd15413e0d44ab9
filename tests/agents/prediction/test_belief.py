"""The belief against the joint normal distribution that it conditions, fitted in one go."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from agents.prediction import Predictor
from agents.prediction.belief import Belief, prompt_keys
from agents.prediction.features import FeatureMap, Kernel, unit
from agents.prediction.regression import Regression
from edgecloud_gym import RequestDataset
from edgecloud_gym.simulator.live_requests import LiveRequests
from tests.agents.prediction.support import drawn

DATA = drawn(90)
NOISE = 0.1
Floats = NDArray[np.float64]


def served(rows: NDArray[np.int32], times: int, seed: int) -> tuple[NDArray[np.int64], Floats]:
    """Who was served in which order, some again and again, and the log times seen."""
    rng = np.random.default_rng(seed)
    who = rng.integers(len(rows) // 2, size=times)
    return who, np.log(DATA.base_latency[rows[who]]) + NOISE * rng.normal(size=times)


def batch(
    prior: Floats, covariance: Floats, who: NDArray[np.int64], seen: Floats
) -> tuple[Floats, Floats]:
    """Conditions N(prior, covariance) on all that was seen, at once."""
    inner = covariance[np.ix_(who, who)] + NOISE**2 * np.eye(len(who))
    gain = np.linalg.solve(inner, covariance[who]).T
    mean = prior + gain @ (seen - prior[who])
    return mean, np.sqrt(np.diag(covariance - gain @ covariance[who]))


@pytest.mark.parametrize("features", [1, 7, 500])
def test_updates_are_one_batch(features: int) -> None:
    predictor = Predictor.fit(DATA)
    rows = DATA.rows("test")
    belief = Belief(predictor, features, NOISE)
    belief.look_at(DATA, rows)
    prediction = predictor.predict_dataset(DATA, rows)
    values = predictor.kernel_values(DATA.embeddings[rows], DATA.prompt_tokens[rows])  # type: ignore[index]
    phi = (values @ predictor.features.projection)[:, :features]
    weights = predictor.ridge / (predictor.features.strengths[:features] + predictor.ridge)
    own = predictor.ridge + 1.0 - np.sum(phi**2, axis=1)
    scale = np.sqrt(predictor.time.amplitude(prediction.log_time_mean))
    covariance = np.outer(scale, scale) * (phi * weights @ phi.T + np.diag(own))
    assert_allclose(belief.log_times(), prediction.log_time_mean, rtol=1e-12)
    who, seen = served(rows, 60, seed=3)
    for place, log in zip(who.tolist(), seen.tolist(), strict=True):
        belief.observe(place, log)
    mean, std = batch(prediction.log_time_mean, covariance, who, seen)
    assert_allclose(belief.log_times(), mean, atol=1e-8)
    assert_allclose(belief.deviations(), std, atol=1e-8)


def test_updates_are_the_fit_with_all_prompts() -> None:
    """Where the supports span all prompts, learning one by one is a fit with all of them."""
    ridge, train = 0.2, np.arange(60)
    whole = Predictor.fit(DATA, rows=np.arange(90), ridge=ridge)
    held = whole.features.kernel  # with its supports in half precision
    exact = Kernel(unit(DATA.embeddings), held.lengths, 0.6, 0.0)  # type: ignore[arg-type]
    kernel = exact(exact.embeddings, exact.lengths)
    logs = np.log(DATA.base_latency)
    features = FeatureMap(exact, kernel[train].T @ kernel[train])
    phi = kernel[train] @ features.projection
    time = Regression.fit(phi, features, np.zeros(60), logs[train], ridge)
    alike = replace(time, scale=np.array([0.3, 0.0]))  # all prompts scatter as much
    belief = Belief(replace(whole, features=features, time=alike, tokens=None), 500, noise=0.0)
    belief._fitted = belief._fitted[:0]  # the supports are more than it was fitted on
    belief.look_at(DATA, np.arange(60, 90, dtype=np.int32))
    for place in range(20):
        belief.observe(place, float(logs[60 + place]))
    seen = np.arange(80)
    weights = np.linalg.solve(
        kernel[np.ix_(seen, seen)] + ridge * np.eye(80), logs[seen] - logs[train].mean()
    )
    expected = logs[train].mean() + kernel[80:, seen] @ weights
    assert_allclose(belief.log_times()[20:], expected, atol=1e-8)
    assert_allclose(belief.log_times()[:20], logs[60:80], atol=1e-8)


def test_rounding_does_not_add_up() -> None:
    belief = Belief(Predictor.fit(DATA), 30, NOISE)
    rows = DATA.rows("test")
    belief.look_at(DATA, rows)
    for place, log in zip(*(part.tolist() for part in served(rows, 2500, seed=1)), strict=True):
        belief.observe(place, log)
    state = belief.state()
    assert_allclose(state["covariance"] @ state["precision"], np.eye(30), atol=1e-9)


def test_a_prompt_that_was_served_is_known() -> None:
    belief = Belief(Predictor.fit(DATA), 30, noise=0.01)
    belief.look_at(DATA, DATA.rows("test"))
    before, spread = belief.log_times(), belief.deviations()
    belief.observe(2, before[2] + 1.0)
    assert belief.log_times()[2] == pytest.approx(before[2] + 1.0, abs=5e-3)
    assert belief.deviations()[2] < 0.02 < spread[2]
    assert np.abs(np.delete(belief.log_times() - before, 2)).max() < 0.5


def test_the_noise_is_averaged_out() -> None:
    belief = Belief(Predictor.fit(DATA), 30, noise=1.0)
    belief.look_at(DATA, DATA.rows("test"))
    for _ in range(400):
        belief.observe(0, 0.0)
    assert belief.deviations()[0] == pytest.approx(1.0 / np.sqrt(400), rel=0.1)


def test_memory_outlasts_datasets_and_files() -> None:
    predictor = Predictor.fit(DATA)
    rows = DATA.rows("test")
    belief = Belief(predictor, 30, NOISE)
    belief.look_at(DATA, rows)
    for place, log in zip(*(part.tolist() for part in served(rows, 40, seed=2)), strict=True):
        belief.observe(place, log)
    learnt = belief.log_times()
    restored = Belief(predictor, 30, NOISE)
    restored.restore(belief.state())
    turned = rows[::-1].copy()
    for known in (belief, restored):
        known.look_at(drawn(12, seed=9), np.arange(12, dtype=np.int32))
        known.look_at(DATA, turned)
        assert_allclose(known.log_times()[::-1], learnt, rtol=1e-12)


def test_prompts_of_the_fit_are_remembered_and_tell_nothing_new() -> None:
    predictor = Predictor.fit(DATA)
    train, test = DATA.rows("train"), DATA.rows("test")
    belief = Belief(predictor, 30, NOISE)
    belief.look_at(DATA, np.concatenate([train, test]))
    before = belief.log_times()
    belief.observe(3, before[3] + 2.0)
    changed = np.flatnonzero(np.abs(belief.log_times() - before) > 1e-12)
    assert changed.tolist() == [3]


def test_rows_of_one_prompt_share_what_is_known() -> None:
    twice = RequestDataset.from_arrays(
        base_latency=np.tile(DATA.base_latency, 2),
        embeddings=np.tile(DATA.embeddings, (2, 1)),  # type: ignore[arg-type]
        prompt_tokens=np.tile(DATA.prompt_tokens, 2),  # type: ignore[arg-type]
    )
    belief = Belief(Predictor.fit(DATA), 30, NOISE)
    belief.look_at(twice, np.arange(180, dtype=np.int32))
    belief.observe(5, 3.0)
    learnt = belief.log_times()
    assert_array_equal(learnt[:90], learnt[90:])
    keys = prompt_keys(DATA.embeddings, DATA.prompt_tokens)  # type: ignore[arg-type]
    assert len(set(keys.tolist())) == 90


def test_what_was_learnt_goes_with_its_predictor() -> None:
    """Weights of other features, even as many of them, would be nonsense without a word."""
    predictor = Predictor.fit(DATA)
    other = Predictor.fit(DATA, DATA.rows("train")[:40])
    belief = Belief(predictor, 7, NOISE)
    belief.look_at(DATA, DATA.rows("test"))
    belief.observe(0, 0.5)
    state = belief.state()
    Belief(predictor, 7, NOISE).restore(state)
    for stranger in (Belief(other, 7, NOISE), Belief(predictor, 6, NOISE)):
        with pytest.raises(ValueError, match="goes with another predictor"):
            stranger.restore(state)
    del state["predictor_digest"]  # as in older files
    Belief(predictor, 7, NOISE).restore(state)


def test_of_a_changing_table_only_so_many_prompts_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.prediction.belief.REMEMBERED", 3)
    table: Any = LiveRequests(DATA, 1)
    belief = Belief(Predictor.fit(DATA), 30, NOISE)
    belief.look_at_changing(table)
    assert DATA.embeddings is not None
    for row in range(5):
        table.embeddings[:] = DATA.embeddings[row]
        belief.change(table, np.array([0]), belief.prior.log_time_mean[:1])
        belief.observe(0, 0.0)
    assert belief.state()["keys"].tolist() == prompt_keys(DATA.embeddings[2:5], None).tolist()


def test_a_table_whose_rows_change_is_believed_alike() -> None:
    predictor = Predictor.fit(DATA)
    rows = DATA.rows("test")
    still = Belief(predictor, 30, NOISE)
    still.look_at(DATA, rows)
    assert DATA.embeddings is not None
    assert DATA.prompt_tokens is not None
    table: Any = LiveRequests(DATA, 5)
    changing = Belief(predictor, 30, NOISE)
    changing.look_at_changing(table)
    who, seen = served(rows, 40, seed=3)
    for turn, (place, log) in enumerate(zip(who.tolist(), seen.tolist(), strict=True)):
        at = np.array([turn % 5, (turn + 1) % 5])  # in two rows at a time
        table.embeddings[at] = DATA.embeddings[rows[place]]
        table.prompt_tokens[at] = DATA.prompt_tokens[rows[place]]
        changing.change(table, at, still.prior.log_time_mean[[place, place]])
        for belief, index in ((still, place), (changing, int(at[turn % 2]))):
            belief.observe(index, log)
        assert_allclose(changing.log_times()[at], still.log_times()[place], rtol=1e-9)
