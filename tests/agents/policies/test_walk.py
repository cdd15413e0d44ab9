"""Networks of a walk: nodes are treated alike, learning starts from the rule, time discounts."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents.policies import WalkPolicy
from agents.policies.algorithms import ALGORITHMS
from agents.policies.playing import play_lanes
from agents.policies.rollouts import advantages, less_peers
from agents.policies.rules import rule_for
from agents.policies.state import (
    learning_state,
    network_state,
    restore_learning,
    restore_network,
)
from edgecloud_gym.sb3 import JoinedVecEnv, make_vec_env
from edgecloud_gym.wrappers import Forecast, vector
from edgecloud_gym.wrappers.walk_features import WALK_NODES, WALK_SYSTEM
from tests.edgecloud_gym.support import CONTINUOUS, toy_dataset

DATA = toy_dataset()
BRIEF = {"dataset": DATA, "duration": 10.0, "observe": "id", "work_conserving": False}
SHORT = {"n_steps": 8, "batch_size": 16, "n_epochs": 1}


def envs(lanes=2, scores=False, load=1.0):
    return make_vec_env(
        CONTINUOUS,
        lanes,
        0,
        lambda e: vector.QueueHead(e, Forecast(DATA.base_latency), scores=scores),
        load=load,
        **BRIEF,
    )


def shown(nodes: int, seed: int = 0, batch: int = 4) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    legal = np.concatenate([np.ones((batch, 1)), rng.random((batch, nodes)) < 0.7], axis=1)
    arrays = {
        "candidate": rng.normal(size=(batch, 7)),
        "nodes": rng.normal(size=(batch, nodes, len(WALK_NODES))),
        "system": rng.normal(size=(batch, len(WALK_SYSTEM))),
        "legal": legal,
    }
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def spaces_for(nodes: int):
    from gymnasium import spaces

    shapes = {name: tuple(part.shape[1:]) for name, part in shown(nodes).items()}
    boxes = {name: spaces.Box(-10.0, 10.0, shape) for name, shape in shapes.items()}
    return spaces.Dict(boxes), spaces.Discrete(1 + nodes)


def scores_of(policy, seen) -> torch.Tensor:
    with torch.no_grad():
        return policy.action_net(policy.extract_features(seen))


def stirred(nodes: int, **network) -> WalkPolicy:
    """A policy with weights that are not those of the start."""
    torch.manual_seed(0)
    policy = ALGORITHMS["ppo"].build(*spaces_for(nodes), **network)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def test_to_permute_nodes_permutes_their_scores():
    policy = stirred(4, rule=rule_for("cluster"))
    seen = shown(4)
    order = torch.tensor([2, 0, 3, 1])
    moved = {
        **seen,
        "nodes": seen["nodes"][:, order],
        "legal": torch.cat([seen["legal"][:, :1], seen["legal"][:, 1:][:, order]], dim=1),
    }
    before, after = scores_of(policy, seen), scores_of(policy, moved)
    torch.testing.assert_close(after[:, 1:], before[:, 1:][:, order])
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(policy.predict_values(moved), policy.predict_values(seen))


def test_weights_belong_to_no_number_of_nodes():
    three, six = stirred(3), ALGORITHMS["ppo"].build(*spaces_for(6))
    restore_network(six, network_state(three))
    few = shown(3)
    # A node seen twice, with all others doubled as well, is scored as it was alone.
    doubled = {**few, "nodes": few["nodes"].repeat(1, 2, 1)}
    doubled["legal"] = torch.cat([few["legal"], few["legal"][:, 1:]], dim=1)
    torch.testing.assert_close(scores_of(six, doubled)[:, :4], scores_of(three, few))


def test_at_first_it_is_the_rule_and_never_illegal():
    rule = {"node": {"time": -1.0, "system.queue": 0.5, "bias": 0.1}, "wait": {"closed": -1.0}}
    policy = ALGORITHMS["ppo"].build(*spaces_for(3), rule=rule, sharpness=2.0)
    seen = shown(3)
    queue = seen["system"][:, WALK_SYSTEM.positions.queue]
    wanted = torch.cat(
        [
            -seen["system"][:, WALK_SYSTEM.positions.closed].unsqueeze(1),
            -seen["nodes"][:, :, WALK_NODES.positions.time] + 0.5 * queue.unsqueeze(1) + 0.1,
        ],
        dim=1,
    )
    legal = seen["legal"] > 0
    found = scores_of(policy, seen)
    torch.testing.assert_close(found[legal], 2.0 * wanted[legal])
    assert found[~legal].max() < -1e6


def test_unknown_columns_of_a_rule_are_refused():
    with pytest.raises(ValueError, match="columns \\['tiem'\\]"):
        ALGORITHMS["ppo"].build(*spaces_for(2), rule={"node": {"tiem": 1.0}})


def test_discounts_count_time():
    """Steps without time change nothing; a constant rate of reward is worth its integral."""
    horizon, rate = 5.0, 2.0
    elapsed = np.array([[1.0], [0.0], [0.5], [3.0]])
    rewards = rate * elapsed
    values = np.zeros((5, 1))
    ended = np.array([[0.0], [0.0], [0.0], [1.0]])
    found = advantages(rewards, values, ended, elapsed, horizon, 1.0)
    left = np.array([4.5, 3.5, 3.5, 3.0])
    expected = rate * horizon * (1.0 - np.exp(-left / horizon))
    np.testing.assert_allclose(found[:, 0], expected)
    # The value of such a state is no surprise at all.
    known = rate * horizon * (1.0 - np.exp(-np.array([*left, 0.0]) / horizon))[:, np.newaxis]
    np.testing.assert_allclose(
        advantages(rewards, known, ended, elapsed, horizon, 0.9), 0.0, atol=1e-12
    )


def test_what_peers_share_is_taken_away():
    times = np.cumsum(np.random.default_rng(0).random((20, 4)), axis=0)
    episodes = np.ones((20, 4), np.int64)
    alike = np.tile(np.arange(20.0)[:, np.newaxis], (1, 4))
    same = np.tile(times[:, :1], (1, 4))
    np.testing.assert_allclose(less_peers(alike, episodes, same, 4), 0.0)
    # Others are no peers: pairs are compared among themselves.
    other = alike + np.array([0.0, 0.0, 100.0, 100.0])
    np.testing.assert_allclose(less_peers(other, episodes, same, 2), 0.0)
    # Where no peer was at that time in that episode, nothing is taken.
    episodes[:, 1:] = 2
    np.testing.assert_array_equal(less_peers(alike, episodes, same, 4)[:, 0], alike[:, 0])


@pytest.mark.parametrize("name", [*ALGORITHMS])
def test_what_was_learnt_survives_as_arrays(name):
    algorithm = ALGORITHMS[name]
    network = {"width": 8} if algorithm.walks else {"net_arch": [8]}
    settings = {n: v for n, v in SHORT.items() if n in algorithm.settings}
    if "learning_starts" in algorithm.settings:
        settings |= {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}

    def fresh(seed):
        return algorithm.make(
            algorithm.policy,
            envs(scores=algorithm.scores),
            seed=seed,
            policy_kwargs=network,
            device="cpu",
            **settings,
        )

    model = fresh(0).learn(40)
    network_arrays, learning = network_state(model.policy), learning_state(model)
    assert learning
    other = fresh(1)
    restore_network(other.policy, network_arrays)
    restore_learning(other, learning)
    for kept, again in (
        (network_arrays, network_state(other.policy)),
        (learning, learning_state(other)),
    ):
        assert kept.keys() == again.keys()
        for key, array in kept.items():
            np.testing.assert_array_equal(array, again[key])


def test_joined_environments_keep_their_own_settings():
    parts = [envs(2, load=0.2), envs(2, load=5.0)]
    joined = JoinedVecEnv(parts)
    assert joined.num_envs == 4
    joined.seed(0)
    seen = joined.reset()
    assert seen["legal"].shape == (4, 3)
    model = PPO(WalkPolicy, joined, **SHORT, seed=0, policy_kwargs={"width": 8})
    model.learn(64)
    assert [s.config.load for s in joined.get_attr("simulator")] == [0.2, 0.2, 5.0, 5.0]
    with pytest.raises(ValueError, match="action_space differ"):
        JoinedVecEnv([envs(2), envs(2, scores=True)])


def test_lanes_are_played_to_their_ends():
    import gymnasium
    from gymnasium.vector import AutoresetMode

    walk = vector.QueueHead(
        gymnasium.make_vec(CONTINUOUS, 3, autoreset_mode=AutoresetMode.NEXT_STEP, **BRIEF),
        Forecast(DATA.base_latency),
    )
    policy = ALGORITHMS["ppo"].build(
        walk.single_observation_space, walk.single_action_space, rule=rule_for("continuous")
    )
    found = play_lanes(walk, policy, [1, 2, 1])
    assert found[0] == found[2] != found[1]
