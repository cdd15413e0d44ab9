"""Trained networks as agents: what ``edgecloud train`` wrote, and what comes with the package."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.base import Info, InLanes, Observation
from agents.prediction.forecasts import as_forecast, forecast
from agents.rules.walk.packing import (
    SHARPNESS,
    forget_expected,
    walk_facts,
    walk_memory,
    walk_parameters,
)
from agents.rules.walk.rule import walk_rule
from agents.schedulers.policy_file import MODELS, PolicyFile, bundled_model, read_policy
from agents.schedulers.ruled import RuleScheduler
from edgecloud_gym.checks import check_path
from edgecloud_gym.config import Priority
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.time_series import TimeSeriesEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from edgecloud_gym.files import replacing
from edgecloud_gym.simulator.rules import Rule
from edgecloud_gym.simulator.state import State
from edgecloud_gym.wrappers.forecast import Forecast
from edgecloud_gym.wrappers.vector import QueueHead
from edgecloud_gym.wrappers.walk import QueueWalk


class PolicyAgent(RuleScheduler):
    """Walks the queue, ranked by predicted time, and chooses for each request as a network does.

    It does not learn here, and so it has nothing to explore: it takes its likeliest choice. The
    networks of `agents.policies.walk` are played as a compiled rule, without torch.

    Args:
        model: A file that ``edgecloud train`` wrote; by default the model of this algorithm that
            comes with the package for the environment at hand.
    """

    cluster_rule: ClassVar[Rule | None] = walk_rule
    memory_size: ClassVar[int] = 0  # `remembered` makes it
    head: ClassVar[str] = "network/action_net."  # what scores the choices, in a file

    def __init__(self, model: str | Path | None = None) -> None:
        """Reads the model, if one is named.

        Raises:
            FileNotFoundError: If there is no such file.
            TypeError: If it is no path.
            UnreadableFileError: If it holds no trained network.
            ValueError: If it is of another algorithm.
        """
        super().__init__()
        self.model = None if model is None else str(check_path("model", model))
        self._file: PolicyFile | None = None
        self._known: tuple[Any, PolicyFile, Forecast] | None = None
        if model is not None:
            self._take(Path(model))

    def _take(self, path: Path) -> None:
        file = read_policy(path)
        if file.agent != self.name:
            raise ValueError(f"{path}: was trained with {file.agent}, not with {self.name}")
        self._file = file
        self.work_conserving = file.walk.work_conserving

    @property
    def file(self) -> PolicyFile:
        """The model that plays in the present environment."""
        if self._file is not None:
            return self._file
        return _bundled(self.name, system_of(self.env))

    @classmethod
    def own_files(cls) -> list[Path]:
        """Returns the models that come with the package."""
        return sorted(MODELS.glob(f"{cls.name}-*.npz"))

    def priority(self) -> Priority:
        """Orders the queue by predicted time."""
        return self._forecast().time

    def _forecast(self) -> Forecast:
        """Returns what is predicted of the environment's dataset."""
        file, dataset = self.file, self.env.dataset
        if self._known is None or self._known[0] is not dataset or self._known[1] is not file:
            self._predictor = file.predictor()
            self._known = (dataset, file, forecast(self._predictor, dataset))
        return self._known[2]

    def facts(self) -> NDArray[np.float64]:
        """Returns what is predicted of each row."""
        simulator = self.env.simulator
        mean_output = simulator.workload.mean_output
        return walk_facts(self._forecast(), self.env.dataset.prompt_tokens, mean_output)

    def parameters(self) -> NDArray[np.float64]:
        """Returns the network and what the nodes are.

        Raises:
            ValueError: If the model does not fit the environment.
        """
        file, features = self.file, len(self._forecast().features)
        sharpness = file.walk.network.get("sharpness", SHARPNESS)
        simulator = self.env.simulator
        try:
            return walk_parameters(
                file.arrays, self.head, sharpness, file.walk.skips, simulator, features
            )
        except ValueError as error:
            raise ValueError(f"{file.path}: {error}") from error

    def remembered(self) -> NDArray[np.float64]:
        """Returns its memory, with room for all requests that have arrived."""
        return walk_memory(self.env.simulator, self._parameters, self._memory)

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Predicts the requests that rows stand for now."""
        simulator, known = self.env.simulator, self._forecast()
        found = as_forecast(self._predictor.predict_dataset(self.env.dataset, rows))
        known.time[rows] = found.time
        prompts = self.env.dataset.prompt_tokens
        some = None if prompts is None else prompts[rows]
        self._facts[rows] = walk_facts(found, some, simulator.workload.mean_output)
        simulator.set_scores(known.time)

    def forget_predictions(self) -> None:
        """Forgets what was expected of those who are at nodes."""
        forget_expected(self._memory, len(self.env.config.nodes), self._parameters)

    def predicted_times(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the times that dispatched requests were ranked by; see `Agent`."""
        return _times_of_sent(self.env.simulator.state, 0, self._forecast().time)

    def save(self, path: str | Path) -> None:
        """Writes a copy of the model's file; complete or not at all."""
        content = self.file.path.read_bytes()
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)

    def load(self, path: str | Path) -> None:
        """Takes over another model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: See the constructor.
        """
        self._take(Path(path))
        self.model = str(path)


def _times_of_sent(
    log: State, lane: int, times: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the dispatched requests of a lane, and the times of their rows, of all rows'."""
    arrived = int(log.lanes[lane]["arrived"])
    sent = np.flatnonzero(log.requests[lane, :arrived]["slot"] >= 0)
    return sent, times[log.requests[lane, sent]["row"]]


@lru_cache(maxsize=8)
def _bundled(agent: str, system: str) -> PolicyFile:
    return read_policy(bundled_model(agent, system))


def system_of(env: EdgeCloudEnv | EdgeCloudVectorEnv) -> str:
    """Returns for which system a bundled model must be."""
    kind = env.single_env if isinstance(env, EdgeCloudVectorEnv) else type(env)
    return "time-series" if issubclass(kind, TimeSeriesEnv) else env.config.batching


class PPOAgent(PolicyAgent):
    """Proximal policy optimisation (Schulman et al., 2017)."""

    name: ClassVar[str] = "ppo"


class MaskablePPOAgent(PolicyAgent):
    """The same with invalid actions masked (Huang & Ontañón, 2022)."""

    name: ClassVar[str] = "maskable-ppo"


class A2CAgent(PolicyAgent):
    """Advantage actor-critic (Mnih et al., 2016)."""

    name: ClassVar[str] = "a2c"


class DQNAgent(PolicyAgent):
    """Deep Q-network (Mnih et al., 2015)."""

    name: ClassVar[str] = "dqn"
    head: ClassVar[str] = "network/q_net.q_net."


class TorchPolicyAgent(PolicyAgent):
    """The same with networks of Stable-Baselines3's own, which torch plays."""

    _built: tuple[Any, Any] | None = None

    def reset(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Prepares for an episode.

        Raises:
            ValueError: If the model does not fit the environment.
        """
        super().reset(env, seed)
        from agents.policies.algorithms import ALGORITHMS
        from agents.policies.playing import Player

        file = self.file
        self._walk = QueueWalk(self.env.simulator, self._forecast(), file.walk.skips)
        self._scores = ALGORITHMS[self.name].scores
        key = (file, self._walk.nodes)
        if self._built is None or self._built[0] != key:
            spaces = self._walk.space(), self._walk.action_space(self._scores)
            self._built = (key, Player(file.policy(*spaces)))
        self._player = self._built[1]
        self._player.forget()
        self._begins = True

    def parameters(self) -> NDArray[np.float64]:
        """Returns nothing: no rule plays its network."""
        return np.empty(0)

    def act(self, observation: Observation, info: Info, explore: bool = True) -> NDArray[np.int64]:
        """Decides as the model does; see `Agent.act`."""
        del observation, info, explore
        walk = self._walk
        walk.start(begun=slice(None) if self._begins else None)
        self._begins = False
        ended = False
        while not ended:
            choice = self._player.choose(walk.observe())
            ended = bool(walk.choose(walk.best(choice) if self._scores else choice)[0][0])
        return np.array(walk.picks[0])

    def in_lanes(self, envs: EdgeCloudVectorEnv) -> InLanes:
        """Decides for many lanes at once; see `Agent.in_lanes`.

        What a network remembers is a row's own, and so an episode's.

        Raises:
            ValueError: If the model does not fit the environment.
        """
        from agents.policies.algorithms import ALGORITHMS
        from agents.policies.playing import Player

        file = self._file or _bundled(self.name, system_of(envs))
        self._lane_times = (known := forecast(file.predictor(), envs.dataset)).time
        scores = ALGORITHMS[self.name].scores
        walk = QueueHead(envs, known, file.walk.skips, scores)
        player = Player(file.policy(walk.walk.space(), walk.single_action_space))

        def choose(shown: Observation, masks: NDArray[np.bool_]) -> NDArray[Any]:
            del masks  # the observation has them
            return player.choose(dict(shown))

        return walk, choose

    def predicted_times_in(
        self, envs: EdgeCloudVectorEnv, lane: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Returns the times that dispatched requests of a lane were ranked by; see `Agent`."""
        return _times_of_sent(envs.simulator.state, lane, self._lane_times)

    def rows_changed(self, rows: NDArray[np.int64]) -> None:
        """Predicts the requests that rows stand for now."""
        known = self._forecast()
        found = self._predictor.predict_dataset(self.env.dataset, rows)
        self._walk.replace(rows, as_forecast(found))
        self.env.simulator.set_scores(known.time)

    def forget_predictions(self) -> None:
        """Forgets what was expected of those who are at nodes."""
        self._walk.forget()


class SACAgent(TorchPolicyAgent):
    """Soft actor-critic (Haarnoja et al., 2018), which scores the choices."""

    name: ClassVar[str] = "sac"


class RecurrentPPOAgent(TorchPolicyAgent):
    """PPO that remembers, with an LSTM."""

    name: ClassVar[str] = "recurrent-ppo"
