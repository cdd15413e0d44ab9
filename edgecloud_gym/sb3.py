"""Stable-Baselines3 on the native vector environments; needs `stable-baselines3`."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from edgecloud_gym.checks import check_integer
from edgecloud_gym.envs.spaces import RowNumbers
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from edgecloud_gym.extras import importing
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.vector import PriorityAction, SequentialAssignment

with importing("agents"):
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv

    from edgecloud_gym.sb3_metrics import METRICS as METRICS
    from edgecloud_gym.sb3_metrics import EpisodeMetrics as EpisodeMetrics

Indices: TypeAlias = int | Iterable[int] | None
LaneEnv: TypeAlias = gym.vector.VectorEnv[Any, Any, Any]
Wrapper: TypeAlias = Callable[[EdgeCloudVectorEnv], LaneEnv]

WRAPPERS: Final[Mapping[str, Wrapper]] = {
    "sequential": SequentialAssignment,
    "priority": PriorityAction,
}

# Methods of the vector environment that tell about one lane.
_LANE_METHODS: Final = ("completions", "request_log", "telemetry", "summary")


def make_vec_env(
    env_id: str,
    n_envs: int = 1,
    seed: int | None = None,
    wrapper: str | Wrapper | None = "sequential",
    **settings: Any,
) -> SB3VecEnv:
    """Makes an environment that Stable-Baselines3's algorithms take.

    Args:
        env_id: One of `edgecloud_gym.ENV_IDS`, or `edgecloud_gym.CLUSTER_ID`.
        n_envs: Number of lanes.
        seed: Lane i is seeded with ``seed + i`` at the first reset.
        wrapper: ``"sequential"`` (`SequentialAssignment`, discrete actions with masks),
            ``"priority"`` (`PriorityAction`, continuous actions), None (the environment's own
            ``MultiDiscrete`` actions), or a callable that wraps the vector environment.
        **settings: Of the environment.

    Returns:
        The environment.

    Raises:
        ValueError: If the wrapper's name is unknown.
    """
    if isinstance(wrapper, str):
        if wrapper not in WRAPPERS:
            allowed = ", ".join(map(repr, WRAPPERS))
            raise ValueError(f"wrapper={shown(wrapper)}: must be {allowed}, None or a callable")
        wrapper = WRAPPERS[wrapper]
    check_integer("n_envs", n_envs, least=1)
    envs: Any = gym.make_vec(env_id, n_envs, autoreset_mode=AutoresetMode.SAME_STEP, **settings)
    adapter = SB3VecEnv(envs if wrapper is None else wrapper(envs))
    if seed is not None:
        adapter.seed(seed)
    return adapter


class SB3VecEnv(VecEnv):
    """A native vector environment, wrapped or not, as Stable-Baselines3's ``VecEnv``.

    A lane that ends is reset at once. Its info then holds ``terminal_observation``,
    ``TimeLimit.truncated``, the episode's ``summary`` and, as of SB3's ``Monitor``, ``episode``:
    return ``r``, length ``l`` in steps and time ``t`` since the adapter was made (s).
    """

    def __init__(self, envs: LaneEnv) -> None:
        """Adapts a vector environment.

        Args:
            envs: An EdgeCloud vector environment in autoreset mode ``SAME_STEP``, or a vector
                wrapper of one.

        Raises:
            TypeError: If it is another environment.
            ValueError: If its autoreset mode is another.
        """
        if not isinstance(envs.unwrapped, EdgeCloudVectorEnv):
            raise TypeError(f"SB3VecEnv adapts native EdgeCloud environments, not {shown(envs)}")
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode={shown(mode)}: must be AutoresetMode.SAME_STEP")
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._actions: NDArray[Any] | None = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._made = time.perf_counter()
        self._warned = False

    def reset(self) -> dict[str, NDArray[Any]]:
        """Resets all lanes, with the seeds of `seed` if it was called since the last reset."""
        self._warn_of_row_numbers()
        seeds = None if None in self._seeds else list(self._seeds)
        observation, infos = self.envs.reset(seed=seeds)  # type: ignore[arg-type]
        self.reset_infos = self._split(infos)
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return dict(observation)

    def _warn_of_row_numbers(self) -> None:
        """Warns once if a network may take dataset rows for quantities."""
        observed: Any = self.observation_space
        rows = observed.spaces.get("prompt_ids")
        if isinstance(rows, RowNumbers) and not rows.looked_up and not self._warned:
            self._warned = True
            warnings.warn(
                'observe="id": prompt_ids are the numbers of dataset rows, from which a network '
                'that takes them for quantities, as "MultiInputPolicy" does, learns nothing. Use '
                'observe="embedding", or agents.policies.CandidatePolicy with '
                "features_extractor_kwargs={'table': ...}; a network of yours that looks rows up "
                "sets observation_space['prompt_ids'].looked_up = True",
                stacklevel=3,
            )

    def step_async(self, actions: NDArray[Any]) -> None:
        """Takes the actions that `step_wait` carries out."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32], NDArray[np.bool_], list[Any]]:
        """Steps all lanes.

        Returns:
            Observations, rewards (num_envs,), which lanes ended (num_envs,), and one info per
            lane.
        """
        observation, rewards, terminations, truncations, vector_infos = self.envs.step(
            self._actions
        )
        dones = terminations | truncations
        self._returns += rewards
        self._lengths += 1
        infos = self._split(vector_infos)
        if dones.any():
            finals = self._split(vector_infos["final_info"])
        for lane in np.flatnonzero(dones).tolist():
            self.reset_infos[lane] = infos[lane]
            infos[lane] = finals[lane] | {
                "terminal_observation": vector_infos["final_obs"][lane],
                "TimeLimit.truncated": bool(truncations[lane] and not terminations[lane]),
                "episode": {
                    "r": float(self._returns[lane]),
                    "l": int(self._lengths[lane]),
                    "t": time.perf_counter() - self._made,
                },
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return dict(observation), rewards.astype(np.float32), dones, infos

    def _split(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        """Turns infos of arrays into one info of Python scalars and arrays per lane."""
        names = [name for name in infos if f"_{name}" in infos and not name.startswith("final_")]
        columns = [self._column(infos[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _column(self, values: Any) -> list[Any]:
        """Returns one value per lane: a scalar, an array, or a mapping of them."""
        if isinstance(values, dict):
            return self._split(values)
        return list(values.tolist() if values.ndim == 1 else values)

    def close(self) -> None:
        """Closes the vector environment."""
        self.envs.close()

    def get_images(self) -> list[Any]:
        """Returns a frame per lane if the render mode is ``"rgb_array"``."""
        frames = self.envs.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Returns an attribute of the vector environment, once per lane: lanes share them."""
        value = getattr(self._owner(attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets an attribute of the vector environment, for all lanes.

        Raises:
            ValueError: If ``indices`` are not all lanes: they share their attributes.
        """
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices={shown(indices)}: lanes share attributes, set them for all")
        setattr(self._owner(attr_name), attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method for each lane.

        Args:
            method_name: ``"action_masks"``, or a method that takes the lane first:
                ``"completions"``, ``"request_log"``, ``"telemetry"``, ``"summary"``.
            *method_args: Passed on after the lane.
            indices: Which lanes; all by default.
            **method_kwargs: Passed on.

        Returns:
            What the method returned for each of these lanes.

        Raises:
            AttributeError: If lanes have no such method.
        """
        lanes = list(self._get_indices(indices))
        if method_name == "action_masks":
            masks = self._owner(method_name).action_masks()
            return [masks[lane] for lane in lanes]
        if method_name not in _LANE_METHODS:
            allowed = ", ".join(("action_masks", *_LANE_METHODS))
            raise AttributeError(f"method_name={shown(method_name)}: lanes have {allowed}")
        method = getattr(self.envs.unwrapped, method_name)
        return [method(lane, *method_args, **method_kwargs) for lane in lanes]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Tells whether lanes are wrapped: only by ``Monitor``, whose job the adapter does."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def _owner(self, name: str) -> Any:
        """Returns the outermost of wrapper and environment that has an attribute."""
        return self.envs if hasattr(self.envs, name) else self.envs.unwrapped


class JoinedVecEnv(VecEnv):
    """Several environments as one, their lanes side by side: other loads, other clusters.

    Each lane keeps the settings of its environment. Observations and actions must be alike.
    """

    def __init__(self, parts: Sequence[VecEnv]) -> None:
        """Joins environments.

        Raises:
            ValueError: If there are none, or their spaces differ.
        """
        if not parts:
            raise ValueError("JoinedVecEnv: needs at least one environment")
        first = parts[0]
        for part in parts:
            for name in ("observation_space", "action_space"):
                if getattr(part, name) != getattr(first, name):
                    raise ValueError(
                        f"JoinedVecEnv: {name} differ: {getattr(part, name)} and "
                        f"{getattr(first, name)}"
                    )
        self.parts = list(parts)
        counts = [part.num_envs for part in parts]
        self._starts = np.cumsum([0, *counts])
        super().__init__(sum(counts), first.observation_space, first.action_space)

    def reset(self) -> Any:
        """Resets all lanes."""
        self._hand_on_seeds()
        observations: list[Any] = [part.reset() for part in self.parts]
        self.reset_infos = [info for part in self.parts for info in part.reset_infos]
        self._reset_seeds()
        self._reset_options()
        return _side_by_side(observations)

    def _hand_on_seeds(self) -> None:
        for part, (first, last) in self._ranges():
            part._seeds = list(self._seeds[first:last])

    def _ranges(self) -> list[tuple[VecEnv, tuple[int, int]]]:
        bounds = itertools.pairwise(self._starts.tolist())
        return list(zip(self.parts, bounds, strict=True))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Takes the actions that `step_wait` carries out."""
        for part, (first, last) in self._ranges():
            part.step_async(actions[first:last])

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[Any]]:
        """Steps all lanes."""
        results = [part.step_wait() for part in self.parts]
        observations, rewards, dones, infos = zip(*results, strict=True)
        flat = [info for part in infos for info in part]
        return _side_by_side(observations), np.concatenate(rewards), np.concatenate(dones), flat

    def close(self) -> None:
        """Closes all environments."""
        for part in self.parts:
            part.close()

    def get_images(self) -> list[Any]:
        """Returns a frame per lane."""
        return [image for part in self.parts for image in part.get_images()]

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Returns an attribute of each lane's environment."""
        values = [value for part in self.parts for value in part.get_attr(attr_name)]
        return [values[lane] for lane in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets an attribute of all environments; lanes share theirs."""
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices={shown(indices)}: lanes share attributes, set them for all")
        for part in self.parts:
            part.set_attr(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method for each lane."""
        values = [
            value
            for part in self.parts
            for value in part.env_method(method_name, *method_args, **method_kwargs)
        ]
        return [values[lane] for lane in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Tells whether lanes are wrapped."""
        values = [value for part in self.parts for value in part.env_is_wrapped(wrapper_class)]
        return [values[lane] for lane in self._get_indices(indices)]


def _side_by_side(observations: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in observations]) for name in observations[0]}
