"""The order of the waiting queue against sorting it."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, at_random, make

ROWS = 300


class Scorer:
    """A model that is updated: scores are `weight` times the embedding. Counts its work."""

    def __init__(self) -> None:
        self.weight = 1.0
        self.scored = 0

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        self.scored += len(embeddings)
        return self.weight * embeddings[:, 0].astype(float)


def crowded(env_id: str, priority: Any, pool: int) -> Any:
    """A system in which hundreds of requests wait, none of them with the same row."""
    rng = np.random.default_rng(0)
    return make(
        env_id,
        dataset=RequestDataset.from_arrays(
            base_latency=rng.lognormal(0.0, 1.0, ROWS),
            embeddings=rng.integers(0, 40, ROWS)[:, None].astype(float),
            slowdown=[1.0, 1.2],
        ),
        arrivals=Trace(np.sort(rng.uniform(0.0, 20.0, ROWS))),
        prompt_order="sequential",
        priority=priority,
        candidate_pool_size=pool,
        observe="id",
        embedding_dim=None,
        work_conserving=False,
        cloud_concurrency=3,
    )


def expected_order(env: Any, scores: NDArray[np.float64]) -> list[int]:
    """The first M of the waiting requests by score, then by arrival."""
    log = env.request_log()
    waiting = log.request_id[log.start_time.isna()].to_numpy()
    order = np.lexsort((waiting, scores[waiting]))
    ids: list[int] = waiting[order][: env.config.candidate_pool_size].tolist()
    return ids


def shown(observation: dict[str, Any]) -> list[int]:
    return [row for row in observation["prompt_ids"].tolist() if row >= 0]


@pytest.mark.parametrize("env_id", [STATIC, CONTINUOUS])
@pytest.mark.parametrize("pool", [1, 7, 400])
def test_reprioritize_ranks_all_that_wait_anew(env_id: str, pool: int) -> None:
    scorer = Scorer()
    env = crowded(env_id, scorer, pool)
    table = env.simulator.embeddings[:, 0].astype(float)
    observation, info = env.reset(seed=0)
    policy, done, steps, expected_work = at_random(1, (1.0, 1.0, 1.0)), False, 0, ROWS
    while not done:
        if steps % 9 == 8:
            scorer.weight = -scorer.weight
            expected_work += info["queue_length"]
            observation, again = env.reprioritize()
            assert {**again, "action_mask": 0} == {**info, "action_mask": 0}
            assert again["action_mask"].tobytes() == info["action_mask"].tobytes()
        assert shown(observation) == expected_order(env, scorer.weight * table)
        observation, _, done, _, info = env.step(policy(observation, info))
        steps += 1
    assert scorer.scored == expected_work
    assert env.request_log().completion_time.notna().all()


@pytest.mark.parametrize("pool", [1, 7, 400])
def test_array_priority_with_ties(pool: int) -> None:
    scores = np.random.default_rng(3).integers(0, 5, ROWS).astype(float)
    env = crowded(STATIC, scores, pool)
    observation, info = env.reset(seed=0)
    policy, done = at_random(0), False
    while not done:
        assert shown(observation) == expected_order(env, scores)
        observation, _, done, _, info = env.step(policy(observation, info))


def test_array_score_is_shown_standardised() -> None:
    scores = np.random.default_rng(3).normal(5.0, 3.0, ROWS)
    scores[0] = 1000.0
    env = crowded(STATIC, scores, 400)
    observation, info = env.reset(seed=0)
    expected = np.clip((scores - scores.mean()) / scores.std(), -5.0, 5.0)
    for _ in range(30):
        ids = shown(observation)
        assert_allclose(observation["candidates"][: len(ids), 3], expected[ids], rtol=1e-5)
        observation, *_ = env.step(at_random(0)(observation, info))


def test_a_constant_score_is_shown_as_zero() -> None:
    env = crowded(STATIC, np.full(ROWS, 3.0), 400)
    observation, _ = env.reset(seed=0)
    assert not observation["candidates"][:, 3].any()


def test_callable_score_is_standardised_by_what_was_scored_so_far() -> None:
    scorer = Scorer()
    env = crowded(STATIC, scorer, 400)
    table = env.simulator.embeddings[:, 0].astype(float)
    observation, info = env.reset(seed=0)
    known = []
    for step in range(60):
        log = env.request_log()
        if step == 30:
            scorer.weight = 2.0
            observation, info = env.reprioritize()
            known = log.prompt_row[log.start_time.isna()].tolist()
        known += [
            row for row in log.prompt_row if row not in known and row > max(known, default=-1)
        ]
        ids = shown(observation)
        given = scorer.weight * table[known]
        if given.std() > 0.0:
            expected = (scorer.weight * table[ids] - given.mean()) / given.std()
            actual = observation["candidates"][: len(ids), 3]
            assert_allclose(actual, expected.clip(-5.0, 5.0), rtol=1e-4, atol=1e-5)
        observation, *_, info = env.step(at_random(0)(observation, info))


def test_a_prompt_that_waits_many_times_is_scored_anew_once() -> None:
    rng = np.random.default_rng(0)
    data = RequestDataset.from_arrays(
        base_latency=rng.lognormal(size=7), embeddings=np.arange(7.0)[:, None]
    )
    scorer = Scorer()
    env = make(STATIC, dataset=data, load=5.0, priority=scorer, observe="id", embedding_dim=None)
    observation, info = env.reset(seed=0)
    while info["queue_length"] < 50:
        observation, *_, info = env.step(at_random(0)(observation, info))
    scorer.scored, scorer.weight = 0, -1.0
    observation, info = env.reprioritize()
    assert scorer.scored == 7
    log = env.request_log()
    waiting = log[log.start_time.isna()]
    order = np.lexsort((waiting.request_id, -waiting.prompt_row))
    assert shown(observation) == waiting.prompt_row.to_numpy()[order][:32].tolist()


@pytest.mark.parametrize("pool", [1, 7, 400])
def test_other_scores_per_row_rank_all_that_wait_anew(pool: int) -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(size=ROWS)
    env = crowded(STATIC, scores, pool)
    observation, info = env.reset(seed=0)
    policy, done, steps = at_random(1, (1.0, 1.0, 1.0)), False, 0
    while not done:
        if steps % 9 == 8:
            scores = rng.normal(size=ROWS)
            env.simulator.set_scores(scores)
            observation, _ = env.reprioritize()
        assert shown(observation) == expected_order(env, scores)
        observation, _, done, _, info = env.step(policy(observation, info))
        steps += 1
    assert steps > 9


def test_what_cannot_be_ranked_anew() -> None:
    env = make(STATIC)
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="needs a priority"):
        env.reprioritize()
    with pytest.raises(RuntimeError, match="one score per dataset row"):
        env.simulator.set_scores(np.zeros(ROWS))
    scored = crowded(STATIC, np.zeros(ROWS), 7)
    with pytest.raises(ValueError, match=r"\(3,\): needs one score per dataset row"):
        scored.simulator.set_scores(np.zeros(3))
