"""A model trained with Stable-Baselines3 as an agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.base import Agent, Info, InLanes, Observation
from agents.checkpoint import trained_work_conserving
from agents.schedulers.sb3_file import read_sb3_file, read_statistics
from edgecloud_gym.checks import check_bool, check_choice, check_path
from edgecloud_gym.config import Priority
from edgecloud_gym.envs.spaces import action_space, observation_space
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from edgecloud_gym.files import UnreadableFileError, replacing
from edgecloud_gym.simulator.legality import assign_lowest
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.assignment import SequentialDecision, extended_space
from edgecloud_gym.wrappers.vector import PriorityAction, SequentialAssignment

# What a file of another algorithm makes SB3 and torch raise.
_LOADING_ERRORS: Final = (
    AssertionError,
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
_ALGORITHMS: Final[dict[str, type[BaseAlgorithm]]] = {
    "MaskablePPO": sb3_contrib.MaskablePPO,
    "PPO": stable_baselines3.PPO,
    "A2C": stable_baselines3.A2C,
    "DQN": stable_baselines3.DQN,
    "QRDQN": sb3_contrib.QRDQN,
    "SAC": stable_baselines3.SAC,
    "TD3": stable_baselines3.TD3,  # and DDPG, which is one
    "TQC": sb3_contrib.TQC,
    "TRPO": sb3_contrib.TRPO,
}
ALGORITHMS: Final = tuple(_ALGORITHMS)


class SB3Agent(Agent):
    """Decides as a trained model does, whichever wrapper it was trained with.

    The model's action space tells: with `SequentialAssignment` (Discrete) a decision takes several
    predictions, with `PriorityAction` (Box) or without a wrapper (MultiDiscrete) one. It does not
    learn here, and so it has nothing to explore: it always takes its likeliest action.

    A file of `save_model` or ``edgecloud train`` says what else the model needs; of one that SB3
    saved, what is not given here is taken to be as by default, and idle places are filled or not
    as the environment has it.

    SB3's files hold pickled objects: load only those you trust.

    Args:
        path: What ``model.save`` or `save_model` wrote.
        algorithm: One of `ALGORITHMS`; told from the file by default.
        allow_stop: As `SequentialAssignment` had it in training.
        vec_normalize: The statistics that a `VecNormalize` around the training environment saved.
    """

    name: ClassVar[str] = "sb3"

    def __init__(
        self,
        path: str | Path,
        algorithm: str | None = None,
        allow_stop: bool | None = None,
        vec_normalize: str | Path | None = None,
    ) -> None:
        """Loads a model.

        Raises:
            FileNotFoundError: If there is no such file.
            TypeError: If a file is no path.
            ValueError: If there is no such algorithm, the file holds no model of it, or the model
                was trained on normalized observations and there are no statistics.
        """
        super().__init__()
        if algorithm is not None:
            check_choice("algorithm", algorithm, ALGORITHMS)
        if allow_stop is not None:
            check_bool("allow_stop", allow_stop)
        self.path = str(check_path("path", path))
        self.algorithm = algorithm
        self.allow_stop = allow_stop
        given = None if vec_normalize is None else check_path("vec_normalize", vec_normalize)
        self.vec_normalize = None if given is None else str(given)
        self._read(Path(path))

    def _read(self, path: Path) -> None:
        file = read_sb3_file(path)
        if file is None:
            raise UnreadableFileError(
                f"{path}: no model of Stable-Baselines3 (a zip of other files)"
            )
        name = self.algorithm or file.algorithm
        if name not in _ALGORITHMS or file.algorithm not in ("", name):
            wanted = "" if self.algorithm is None else f", not of {self.algorithm}"
            raise ValueError(
                f"{path}: holds a model of {file.algorithm or 'an unknown algorithm'}{wanted}; "
                f"the agent 'sb3' plays those of {', '.join(ALGORITHMS)}"
            )
        self._masked = name == "MaskablePPO"
        self._model = _load(path, name)
        training = file.training or {}
        self.work_conserving = trained_work_conserving(training)
        self._stops = bool(
            training.get("allow_stop", False) if self.allow_stop is None else self.allow_stop
        )
        given = self.vec_normalize
        self._statistics = file.statistics() if given is None else read_statistics(Path(given))
        if self._statistics is None and _was_normalized(self._model):
            raise ValueError(
                f"{path}: the model was trained on observations that a wrapper had changed, such "
                "as VecNormalize: vec_normalize must name the file with its statistics"
                f"{_lying_near(path)}"
            )

    @property
    def model(self) -> BaseAlgorithm:
        """The model of Stable-Baselines3."""
        return self._model

    @property
    def statistics(self) -> Any:
        """The `VecNormalize` that scales its observations, if there is one."""
        return self._statistics

    @property
    def is_masked(self) -> bool:
        """Whether it is given masks."""
        return self._masked

    @property
    def allows_stop(self) -> bool:
        """Whether it may end a decision while more can be assigned."""
        return self._stops

    def predict(self, observations: dict[str, NDArray[Any]], masks: NDArray[Any]) -> NDArray[Any]:
        """Returns its likeliest actions (n, ...) for raw observations and masks (n, choices)."""
        return self._predict(observations, masks)

    def priority(self) -> Priority:
        """Keeps the environment's order of the queue: the model was trained with it."""
        return self.env.config.priority

    def observes(self) -> dict[str, Any]:
        """Returns what the model's observations say of the environment that it was trained in."""
        seen = self._model.observation_space
        if not isinstance(seen, spaces.Dict):
            return {}
        candidates = seen.spaces.get("candidates")
        found: dict[str, Any] = {}
        if candidates is not None and candidates.shape:
            found["candidate_pool_size"] = candidates.shape[0]
        if "prompt_ids" in seen.spaces:
            found["observe"] = "id"
        vectors = seen.spaces.get("embeddings")
        if vectors is not None and vectors.shape:
            found |= {"observe": "embedding", "embedding_dim": vectors.shape[-1]}
        return found

    def save(self, path: str | Path) -> None:
        """Writes a copy of the model's file; complete or not at all."""
        content = Path(self.path).read_bytes()
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)

    def load(self, path: str | Path) -> None:
        """Takes over another model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: See the constructor.
        """
        self._read(Path(path))
        self.path = str(path)

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode.

        Raises:
            ValueError: If the model was trained on other observations or actions.
        """
        super().reset(env, seed)
        self._decision = SequentialDecision(self.env.simulator, self._stops)
        self._require_fits(self.env.simulator)

    def _require_fits(self, simulator: Simulator) -> None:
        config = simulator.config
        m, nodes = config.candidate_pool_size, len(config.nodes)
        observed = observation_space(simulator.layout)
        forms: tuple[tuple[spaces.Space[Any], spaces.Dict], ...] = (
            (spaces.Discrete(nodes * m + 1), extended_space(observed, config)),
            (spaces.Box(-1.0, 1.0, (m,), np.float32), observed),
            (action_space(m, nodes), observed),
        )
        if (self._model.action_space, self._model.observation_space) not in forms:
            raise ValueError(
                f"model {shown(self.path)} was trained on other observations or actions than this "
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

    def in_lanes(self, envs: EdgeCloudVectorEnv) -> InLanes:
        """Decides for many lanes at once; see `Agent.in_lanes`.

        Raises:
            ValueError: If the model was trained on other observations or actions.
        """
        self._require_fits(envs.simulator)
        space = self._model.action_space
        if isinstance(space, spaces.Discrete):
            return SequentialAssignment(envs, self._stops), self._predict
        if isinstance(space, spaces.Box):
            return PriorityAction(envs), self._predict
        return envs, self._predict

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
        options: dict[str, Any] = {"action_masks": masks} if self._masked else {}
        seen: Any = lane if self._statistics is None else self._statistics.normalize_obs(lane)
        action, _ = self._model.predict(seen, deterministic=True, **options)
        return np.asarray(action)


def _load(path: Path, algorithm: str) -> BaseAlgorithm:
    try:
        with path.open("rb") as stream:
            return _ALGORITHMS[algorithm].load(stream, device="cpu")
    except _LOADING_ERRORS as error:
        raise UnreadableFileError(
            f"{path}: no model of {algorithm}, or damaged ({error})"
        ) from error


def _was_normalized(model: BaseAlgorithm) -> bool:
    """Tells whether the observations that a model saw last cannot be its environment's own."""
    last, space = model._last_obs, model.observation_space
    if not isinstance(last, Mapping) or not isinstance(space, spaces.Dict):
        return False
    for name, part in space.items():
        values = np.asarray(last[name])
        if isinstance(part, spaces.Box):
            margin = 1e-4 * (1.0 + np.abs(values))
            if np.any(values < part.low - margin) or np.any(values > part.high + margin):
                return True
    return False


def _lying_near(path: Path) -> str:
    """Returns a hint to files beside a model that may be the statistics."""
    near = [str(file) for file in sorted(path.parent.glob("*.pkl")) if "vec" in file.name.lower()]
    return f"; near it lies {', '.join(near[:3])}" if near else ""


def _as_lane(observation: Observation) -> dict[str, NDArray[Any]]:
    return {name: part[np.newaxis] for name, part in observation.items()}


def _shapes(space: spaces.Space[Any]) -> str:
    """Returns the shapes of a space's parts; bounds would fill pages."""
    if not isinstance(space, spaces.Dict):
        return f"{type(space).__name__} {space.shape}"
    return ", ".join(f"{name} {part.shape}" for name, part in space.items())
