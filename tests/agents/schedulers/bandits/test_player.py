"""Neural bandits play in compiled code as they play step by step."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from agents import Agent, make_agent
from agents.experiments.episode import play_steps
from agents.schedulers.bandits.neural import CNGreedy
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Trace
from tests.agents.schedulers.spying import spy_on

COUNT = 90
rng = np.random.default_rng(0)
DATA = RequestDataset.from_arrays(
    base_latency=rng.lognormal(0.0, 0.7, COUNT), embeddings=rng.normal(size=(COUNT, 5))
)
AT_ONCE = Trace(np.repeat([0.0, 1.0, 30.0], [50, 1, 40]))
# Systems, and how agents are set up for them.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "static": ("Static", {"edge_concurrency": 2, "edge_batch_capacity": 3}, {"rerank_every": 5}),
    "cut off": ("Static", {"drain": False, "load": 1.3}, {"buffer_size": 7, "batch_size": 60}),
    "few candidates": ("Static", {"candidate_pool_size": 2}, {"train_every": 1}),
    "at once": ("Static", {"arrivals": AT_ONCE}, {"hidden": [8, 70, 3]}),
    "no edge": ("Static", {"edge_concurrency": 0}, {}),
    "no cloud": ("TimeSeries", {"cloud_concurrency": 0}, {"learning_rate": 0.1}),
    "continuous": ("Continuous", {"edge_concurrency": 3}, {"train_every": 3}),
    "filled": ("Static", {"work_conserving": True}, {}),
}
EXPLORING: dict[str, dict[str, Any]] = {"cn-greedy": {"epsilon": 0.3}, "cn-ducb": {"nu": 1}}


def make(case: str) -> Any:
    name, settings, _ = CASES[case]
    chosen = {"dataset": DATA, "edge_slowdown": None, "duration": 60.0, "work_conserving": False}
    if "arrivals" not in settings:
        chosen["load"] = 1.1
    return gym.make(f"EdgeCloud-{name}-v0", **{**chosen, "cloud_concurrency": 2, **settings})


def played(env: Any, agent: Agent, explore: tuple[bool, ...] = (True, True, False)) -> list[Any]:
    """Plays episodes; returns rewards, logs and predictions of each, and what was learnt."""
    told: list[Any] = []
    for seed, learns in enumerate(explore):
        told.append([*play_steps(env, agent, seed, seed + 9, learns)])
        told.append(env.unwrapped.request_log().to_numpy(dtype=str))
        told.extend(agent.predicted_times())
    return [*told, *agent.state().values()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", EXPLORING)
@pytest.mark.parametrize("case", CASES)
def test_as_step_by_step(case: str, name: str) -> None:
    settings = {"hidden": [16, 8], **EXPLORING[name], **CASES[case][2]}
    alone, stepping = make_agent(name, **settings), make_agent(name, **settings)
    both = zip(played(make(case), alone), played(gym.Wrapper(make(case)), stepping), strict=True)
    for ours, theirs in both:
        np.testing.assert_array_equal(ours, theirs)
    for drawn in ("_rng", "_estimator.rng"):
        assert _generator(alone, drawn).random() == _generator(stepping, drawn).random()
    assert alone.plays_compiled  # type: ignore[attr-defined]


def _generator(agent: Any, path: str) -> np.random.Generator:
    for name in path.split("."):
        agent = getattr(agent, name)
    assert isinstance(agent, np.random.Generator)
    return agent


class LongestFirst(CNGreedy):
    """Changes what compiled code knows nothing of."""

    def pick_for_edge(
        self, scores: Any, room: int, action: NDArray[np.int64], explore: bool
    ) -> None:
        super().pick_for_edge(-scores, room, action, explore)


def test_a_subclass_plays_as_it_says() -> None:
    env = make("static")
    changed, plain = LongestFirst(hidden=[8]), CNGreedy(hidden=[8])
    assert played(env, changed)[0] != played(env, plain)[0]
    assert not changed.plays_compiled
    assert plain.plays_compiled


@pytest.mark.parametrize("name", ["c2ucb", "cn-greedy", "cn-ducb"])
@pytest.mark.parametrize("method", ["act", "observe", "take_in"])
def test_what_is_set_in_a_method_s_place_is_called(name: str, method: str) -> None:
    env, patched = make("static"), make_agent(name)
    calls = spy_on(patched, method)
    rewards = [*play_steps(env, patched, 0, 9)]
    assert len(calls) > 5
    assert rewards == [*play_steps(env, make_agent(name), 0, 9)]


def test_one_that_forgets_plays_in_python() -> None:
    env = make("static")
    forgetting = CNGreedy(hidden=[8], discount=0.9)
    assert len(played(env, forgetting)[0]) > 20
    assert not forgetting.plays_compiled
