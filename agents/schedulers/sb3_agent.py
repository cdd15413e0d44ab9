"""A model trained with Stable-Baselines3 as an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.base import Agent, Info, Observation
from edgecloud_gym.config import Priority
from edgecloud_gym.envs.spaces import action_space, observation_space
from edgecloud_gym.files import replacing
from edgecloud_gym.simulator.legality import NODES, assign_lowest
from edgecloud_gym.wrappers.assignment import SequentialDecision, extended_space

_ALGORITHMS: Final[dict[str, type[BaseAlgorithm]]] = {
    "MaskablePPO": sb3_contrib.MaskablePPO,
    "PPO": stable_baselines3.PPO,
    "A2C": stable_baselines3.A2C,
    "DQN": stable_baselines3.DQN,
    "SAC": stable_baselines3.SAC,
}
ALGORITHMS: Final = tuple(_ALGORITHMS)


class SB3Agent(Agent):
    """Decides as a trained model does, whichever wrapper it was trained with.

    The model's action space tells: with `SequentialAssignment` (Discrete) a decision takes several
    predictions, with `PriorityAction` (Box) or without a wrapper (MultiDiscrete) one. It does not
    learn here, and so it has nothing to explore: it always takes its likeliest action.

    SB3's files hold pickled objects: load only those you trust.

    Args:
        path: What ``model.save`` wrote.
        algorithm: One of `ALGORITHMS`: what the model was trained with.
        allow_stop: As `SequentialAssignment` had it in training.
    """

    name: ClassVar[str] = "sb3"

    def __init__(
        self, path: str | Path, algorithm: str = "MaskablePPO", allow_stop: bool = False
    ) -> None:
        """Loads a model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If there is no such algorithm, or the file holds no model of it.
        """
        super().__init__()
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
        self.path = str(path)
        self.algorithm = algorithm
        self.allow_stop = allow_stop
        self._model = self._read(path)

    def _read(self, path: str | Path) -> BaseAlgorithm:
        with Path(path).open("rb") as stream:
            return _ALGORITHMS[self.algorithm].load(stream, device="cpu")

    def priority(self) -> Priority:
        """Keeps the environment's order of the queue: the model was trained with it."""
        return self.env.config.priority

    def save(self, path: str | Path) -> None:
        """Writes the model as SB3 does; complete or not at all."""
        with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
            self._model.save(stream)

    def load(self, path: str | Path) -> None:
        """Takes over another model of the same algorithm.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file holds no model of this algorithm.
        """
        self._model = self._read(path)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode.

        Raises:
            ValueError: If the model was trained on other observations or actions.
        """
        super().reset(env, seed)
        config = self.env.config
        self._decision = SequentialDecision(self.env.simulator, self.allow_stop)
        m = config.candidate_pool_size
        observed = observation_space(self.env.simulator.layout)
        forms: tuple[tuple[spaces.Space[Any], spaces.Dict], ...] = (
            (spaces.Discrete(NODES * m + 1), extended_space(observed, config)),
            (spaces.Box(-1.0, 1.0, (m,), np.float32), observed),
            (action_space(m), observed),
        )
        if (self._model.action_space, self._model.observation_space) not in forms:
            raise ValueError(
                f"model {self.path!r} was trained on other observations or actions than this "
                "environment's: check candidate_pool_size, observe, embedding_dim, the dataset "
                "and which sides are there; it has "
                f"{_shapes(self._model.observation_space)} and {self._model.action_space}, "
                f"the environment {_shapes(observed)}"
            )

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides as the model does; see `Agent.act`."""
        del explore
        lane = _as_lane(observation)
        space = self._model.action_space
        if isinstance(space, spaces.Discrete):
            return self._act_sequentially(lane)
        if isinstance(space, spaces.Box):
            simulator = self.env.simulator
            scores = self._predict(lane)
            return np.asarray(assign_lowest(scores, simulator.present, simulator.room)[0])
        masks = info["action_mask"][np.newaxis].astype(np.bool_)
        return np.asarray(self._predict(lane, masks)[0], np.int64)

    def _act_sequentially(self, lane: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Makes one choice after the other, as `SequentialAssignment` would offer them."""
        decision = self._decision
        decision.start(self.env.simulator)
        ended = False
        while not ended:
            choice = self._predict({**lane, **decision.progress()}, decision.choice_masks())
            ended = bool(decision.choose(np.asarray(choice, np.int64))[0][0])
            # As the wrapper shows it between choices: no time has passed since the last one.
            lane = _as_lane(self.env.hold()[0])
        return np.array(decision.picks[0])

    def _predict(
        self, lane: dict[str, NDArray[Any]], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[Any]:
        options: dict[str, Any] = {"action_masks": masks} if self.algorithm == "MaskablePPO" else {}
        action, _ = self._model.predict(lane, deterministic=True, **options)
        return np.asarray(action)


def _as_lane(observation: Observation) -> dict[str, NDArray[Any]]:
    return {name: part[np.newaxis] for name, part in observation.items()}


def _shapes(space: spaces.Space[Any]) -> str:
    """Returns the shapes of a space's parts; bounds would fill pages."""
    if not isinstance(space, spaces.Dict):
        return f"{type(space).__name__} {space.shape}"
    return ", ".join(f"{name} {part.shape}" for name, part in space.items())
