"""What an action does, by example: the repair rule, idle slots, and when time moves."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edgecloud_gym.arrivals import Trace
from edgecloud_gym.envs.base import EdgeCloudEnv
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, dataset_of, make

WAIT, EDGE, CLOUD = 0, 1, 2
LATENCY = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


def eight_waiting(env_id: str = STATIC, **settings: Any) -> EdgeCloudEnv:
    """Requests 0 to 7 wait at time 0; two edge slots and one cloud slot are free."""
    batch = {"edge_batch_capacity": 2} if env_id == STATIC else {}
    system = {
        "dataset": dataset_of(LATENCY),
        "arrivals": Trace(np.zeros(8)),
        "edge_concurrency": 2,
        "cloud_concurrency": 1,
        "edge_slowdown": [1.0, 1.5],
        **batch,
    }
    env = make(
        env_id,
        observe="id",
        prompt_order="sequential",
        candidate_pool_size=8,
        cloud_time_multiplier=0.5,
        **{**system, **settings},
    )
    env.reset(seed=0)
    return env


def started(env: EdgeCloudEnv, node: str) -> list[int]:
    log = env.request_log()
    ids: list[int] = log.request_id[(log.node == node) & (log.start_time == 0.0)].tolist()
    return ids


def test_repair_of_static_picks() -> None:
    env = eight_waiting(work_conserving=False)
    _, _, _, _, info = env.step(np.array([EDGE, EDGE, EDGE, CLOUD, CLOUD, EDGE, EDGE, WAIT]))
    assert started(env, "edge") == [0, 1, 2, 5]
    assert started(env, "cloud") == [3]
    assert info["invalid_assignments"] == 2  # the second cloud pick, the fifth edge pick
    assert info["queue_length"] == 3
    finish = env.completions()["finish"]
    assert_allclose(finish, [0.5 * 4.0 + 0.05])  # the cloud, before {0, 1} at 3 and {2, 5} at 9
    env.step(np.zeros(8, np.int64))
    assert env.completions()["request"].tolist() == [0, 1]
    assert_allclose(env.completions()["finish"], [3.0, 3.0])


def test_repair_of_continuous_picks() -> None:
    env = eight_waiting(CONTINUOUS, work_conserving=False)
    _, _, _, _, info = env.step(np.array([WAIT, EDGE, CLOUD, EDGE, EDGE, CLOUD, WAIT, WAIT]))
    assert started(env, "edge") == [1, 3]
    assert started(env, "cloud") == [2]
    assert info["invalid_assignments"] == 2
    env.step(np.zeros(8, np.int64))
    assert_allclose(env.completions()["finish"], [2.0 * 1.5])  # they share the edge


def test_idle_slots_take_the_remaining_candidates() -> None:
    env = eight_waiting(edge_concurrency=3)
    _, _, _, _, info = env.step(np.array([WAIT, EDGE, WAIT, WAIT, WAIT, WAIT, WAIT, WAIT]))
    assert started(env, "edge") == [0, 1, 2, 3, 4]  # {1} stays small; then {0, 2} and {3, 4}
    assert started(env, "cloud") == [5]
    assert info["invalid_assignments"] == 0
    log = env.request_log()
    assert log.completion_time[1] == pytest.approx(2.0)


def test_the_first_batch_takes_the_first_picks() -> None:
    env = eight_waiting(edge_concurrency=2, work_conserving=False)
    env.step(np.array([EDGE, WAIT, EDGE, WAIT, EDGE, WAIT, EDGE, WAIT]))
    while env.request_log().completion_time.isna()[6]:
        env.step(np.zeros(8, np.int64))
    assert_allclose(env.request_log().completion_time[[0, 2, 4, 6]], [4.5, 4.5, 10.5, 10.5])


def test_empty_rows_cannot_be_assigned() -> None:
    env = eight_waiting(arrivals=Trace([0.0, 5.0]))
    _, _, _, _, info = env.step(np.full(8, EDGE))
    assert info["invalid_assignments"] == 7


def test_no_time_passes_while_slots_are_free() -> None:
    env = eight_waiting(work_conserving=False)
    _, reward, _, _, info = env.step(np.array([EDGE] + [WAIT] * 7))
    assert (info["elapsed"], info["time"], reward) == (0.0, 0.0, 0.0)
    assert info["action_mask"].tolist() == [[1, 1, 1]] * 7 + [[1, 0, 0]]
    _, _, _, _, info = env.step(np.array([WAIT] * 6 + [CLOUD, WAIT]))
    assert info["elapsed"] == 0.0
    assert info["action_mask"].tolist() == [[1, 1, 0]] * 6 + [[1, 0, 0]] * 2


def test_waiting_moves_time_to_the_next_event() -> None:
    env = eight_waiting(work_conserving=False)
    env.step(np.array([EDGE] + [WAIT] * 7))
    _, reward, _, _, info = env.step(np.zeros(8, np.int64))
    assert (info["elapsed"], info["completed"], reward) == (1.0, 1, -8.0)


def test_stalling_dispatches_the_oldest() -> None:
    env = eight_waiting(work_conserving=False)
    _, _, _, _, info = env.step(np.zeros(8, np.int64))
    assert info["forced_dispatches"] == 5
    assert started(env, "edge") == [0, 1, 2, 3]
    assert started(env, "cloud") == [4]
    assert info["time"] == pytest.approx(2.55)  # the cloud is done with request 4 first


def test_the_cloud_takes_at_least_a_millisecond_and_the_round_trip() -> None:
    env = eight_waiting(dataset=dataset_of([1e-6] * 8), network_rtt=0.25, edge_concurrency=0)
    env.step(np.full(8, CLOUD))
    assert_allclose(env.completions()["processing_time"], [0.251])


def test_a_request_that_just_meets_its_objective() -> None:
    env = eight_waiting(edge_concurrency=8, edge_batch_capacity=1, slo=3.0, edge_slowdown=None)
    violations = 0
    done = False
    while not done:
        _, _, done, _, info = env.step(np.full(8, EDGE))
        violations += info["slo_violations"]
    assert violations == 5  # requests 3 to 7 take 4 to 8 s


def test_what_happens_at_the_horizon_still_counts() -> None:
    env = eight_waiting(arrivals=Trace([0.0]), duration=1.0, drain=False)
    _, _, terminated, truncated, info = env.step(np.full(8, EDGE))
    assert (terminated, truncated) == (False, True)
    assert (info["time"], info["completed"]) == (1.0, 1)
