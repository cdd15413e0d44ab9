"""TorchRL: its wrappers as they are, and masks by ours."""

import gymnasium as gym
import pytest

pytest.importorskip("torchrl", reason="TorchRL is checked in an environment of its own")

from torchrl.envs import ActionMask, GymEnv, GymWrapper, TransformedEnv, check_env_specs

from edgecloud_gym.torchrl import MaskReader, make_env
from edgecloud_gym.wrappers import vector
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, UNMODIFIED, cells_of, fill, names

pytestmark = pytest.mark.filterwarnings("ignore")
CELLS, cell = cells_of("TorchRL")


@cell("single", UNMODIFIED)
def roll_out(env_id: str) -> None:
    env = GymEnv(f"edgecloud_gym:{env_id}", **BRIEF)
    check_env_specs(env)
    assert env.rollout(10)["next", "reward"].sum() < 0.0


@cell("vector", UNMODIFIED)
def roll_out_lanes(env_id: str) -> None:
    for mode in (gym.vector.AutoresetMode.DISABLED, gym.vector.AutoresetMode.SAME_STEP):
        for wrap in (lambda envs: envs, vector.SequentialAssignment):
            envs = wrap(gym.make_vec(env_id, 3, autoreset_mode=mode, **BRIEF))
            env = GymWrapper(envs, categorical_action_encoding=True)
            check_env_specs(env)
            rolled = env.rollout(200, break_when_any_done=False)
            assert rolled["next", "done"].sum() > 0


@cell("masked", EXTRA)
def roll_out_legally(env_id: str) -> None:
    for lanes in (None, 3):
        env = TransformedEnv(make_env(env_id, lanes, **BRIEF), ActionMask())
        rolled = env.rollout(200, break_when_any_done=False)
        legal = rolled["action_mask"].gather(-1, rolled["action"].unsqueeze(-1))
        assert legal.all()
        assert rolled["next", "done"].sum() > 0


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_torchrl(cell, env_id):
    fill(cell, env_id)


def test_the_environments_own_actions_have_their_mask():
    env = make_env("EdgeCloud-Static-v0", None, None, **BRIEF)
    assert env.reset()["action_mask"].shape == (32, 3)


def test_another_wrapper_is_refused():
    with pytest.raises(ValueError, match="wrapper='priority': must be 'sequential' or None"):
        make_env("EdgeCloud-Static-v0", wrapper="priority")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_lanes_are_counted(wrong):
    with pytest.raises((TypeError, ValueError), match=f"n_envs={wrong!r}: must be an integer >= 1"):
        make_env(IDS[0], n_envs=wrong)


def test_the_reader_keeps_the_masks_of_lanes_that_are_not_reset():
    env = make_env("EdgeCloud-Static-v0", 2, **BRIEF)
    assert isinstance(env.info_dict_reader[0], MaskReader)
    first = env.reset()
    reset = first.clone().set("_reset", first["done"].clone())
    reset["_reset"][0] = True
    assert env.reset(reset)["action_mask"][1].equal(first["action_mask"][1])
