"""Agents in training: each learns a while, and can be saved and taken up again in between."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from agents.checkpoint import write_checkpoint
from agents.experiments.episode import run_episode
from agents.experiments.runs import one_torch_thread
from agents.experiments.scenario import Scenario
from agents.registry import make_agent
from agents.schedulers.sb3_file import save_model
from edgecloud_gym.checks import check_bool, check_integer, check_number, did_you_mean

PPO: Final = "ppo"
PPO_LANES: Final = 64
PPO_SETTINGS: Final[Mapping[str, Any]] = {
    "n_steps": 128,
    "batch_size": 1024,
    "n_epochs": 4,
    "learning_rate": 1e-3,
}
# What SB3 would take without a word, or refuse with an assertion or in the middle of learning.
_LEAST: Final = {"n_steps": 1, "batch_size": 2, "n_epochs": 1, "stats_window_size": 1, "verbose": 0}
_SHARES: Final = ("gamma", "gae_lambda")
_POSITIVE: Final = ("learning_rate", "clip_range", "clip_range_vf", "max_grad_norm", "target_kl")
_NOT_NEGATIVE: Final = ("ent_coef", "vf_coef")
_TRUTHS: Final = ("normalize_advantage", "use_sde")
_TAKEN: Final = ("self", "policy", "env", "seed", "device", "_init_setup_model")


def check_ppo_settings(settings: Mapping[str, Any]) -> None:
    """Checks the settings of SB3's PPO that a user has given.

    Raises:
        ModuleNotFoundError: If one needs a package that is not installed.
        TypeError: If there is no such setting, or a value is of a wrong type.
        ValueError: If a value is out of range.
    """
    import stable_baselines3

    parameters = inspect.signature(stable_baselines3.PPO.__init__).parameters
    known = [name for name in parameters if name not in _TAKEN]
    for name, value in settings.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise TypeError(f"ppo has no setting {name!r}{hint}; it takes: {', '.join(known)}")
        if (value is None and parameters[name].default is None) or callable(value):
            continue  # SB3's own default, or a schedule
        if name in _LEAST:
            check_integer(name, value, least=_LEAST[name])
        elif name in _SHARES:
            check_number(name, value, least=0.0, most=1.0)
        elif name in _POSITIVE:
            check_number(name, value, above=0.0)
        elif name in _NOT_NEGATIVE:
            check_number(name, value, least=0.0)
        elif name in _TRUTHS:
            check_bool(name, value)
        elif name == "policy_kwargs" and not isinstance(value, Mapping):
            raise TypeError(f"policy_kwargs={value!r}: must be a mapping")
        elif name == "tensorboard_log":
            import_module("tensorboard")


class Learner(ABC):
    """An agent in training.

    Attributes:
        unit: What `done` counts, in the singular.
        stride: By how many of these it advances at once.
        done: How much it has learnt from, in earlier sessions too.
        empty: Episodes of this session in which no request arrived.
    """

    unit: ClassVar[str]
    stride: int = 1
    done: int
    empty: int = 0

    @abstractmethod
    def advance(self) -> float:
        """Learns until it can be saved again.

        Returns:
            The sum of rewards per episode, of late (NaN before the first episode has ended).
        """

    @abstractmethod
    def save(self, path: Path, training: Mapping[str, Any]) -> None:
        """Writes a file that `agents.experiments.model_file` reads; complete or not at all.

        Args:
            path: The file.
            training: How it was trained; ``done`` is added.
        """


class BanditLearner(Learner):
    """A bandit learns from one episode after the other, as it does in an experiment.

    Each episode has its own seed, so that the model does not depend on interruptions.

    Args:
        name: Of the bandit.
        options: Its settings.
        scenario: Where it learns.
        seed: Seeds the episodes and the bandit's draws.
        resume: What it goes on from, and after how many episodes.
    """

    unit = "episode"

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        scenario: Scenario,
        seed: int,
        resume: tuple[Path, int] | None,
    ) -> None:
        self._agent = make_agent(name, **options)
        self.done = 0
        if resume is not None:
            path, self.done = resume
            self._agent.load(path)
        self._env = scenario.make(self._agent.work_conserving)
        self._seed = seed
        self._agent.reset(self._env, seed)  # so that what does not fit is refused now

    def advance(self) -> float:
        """Learns from an episode; returns the sum of its rewards."""
        seeds = np.random.SeedSequence([self._seed, self.done]).generate_state(2)
        with one_torch_thread():
            total = run_episode(self._env, self._agent, int(seeds[0]), int(seeds[1]))
        self.empty += int(self._env.unwrapped.summary()["arrived"] == 0)  # type: ignore[attr-defined]
        self.done += 1
        return total

    def save(self, path: Path, training: Mapping[str, Any]) -> None:
        """Writes a checkpoint; see `Learner.save`."""
        agent = self._agent
        record = {**training, "done": self.done}
        write_checkpoint(path, agent.name, agent.settings(), agent.state(), record)


class PPOLearner(Learner):
    """SB3's PPO with `CandidatePolicy` learns over a `SequentialAssignment`.

    Taken up again, it goes on in new episodes: only uninterrupted training is repeatable.

    Args:
        options: Of SB3's ``PPO``, besides `PPO_SETTINGS`; see `check_ppo_settings`.
        scenario: Where it learns; slots never stay idle there.
        seed: Seeds the episodes, the first weights and the choices.
        resume: What it goes on from, and after how many steps.
    """

    unit = "step"

    def __init__(
        self,
        options: Mapping[str, Any],
        scenario: Scenario,
        seed: int,
        resume: tuple[Path, int] | None,
    ) -> None:
        import stable_baselines3

        from agents.policies import CandidatePolicy
        from edgecloud_gym.sb3 import make_vec_env

        check_ppo_settings(options)
        settings = {**scenario.settings, "dataset": scenario.dataset}
        envs = make_vec_env(scenario.env_id, PPO_LANES, **settings)
        path, self.done = resume or (None, 0)
        own_seed = int(np.random.SeedSequence([seed, self.done]).generate_state(1)[0])
        if path is None:
            chosen = {**PPO_SETTINGS, **options}
            if settings.get("observe") == "id":  # what the rows stand for
                table = envs.get_attr("simulator")[0].embeddings
                chosen.setdefault("policy_kwargs", {"features_extractor_kwargs": {"table": table}})
            self._model = stable_baselines3.PPO(
                CandidatePolicy, envs, seed=own_seed, device="cpu", **chosen
            )
        else:
            with path.open("rb") as stream:
                self._model = stable_baselines3.PPO.load(stream, envs, device="cpu")
            self._model.set_random_seed(own_seed)  # as it learnt before: not the same again
        self.stride = self._model.n_steps * PPO_LANES  # SB3 learns whole rollouts

    def advance(self) -> float:
        """Learns from a rollout; returns the mean return of the last hundred episodes."""
        model = self._model
        model.learn(self.stride, callback=self._count_empty, reset_num_timesteps=False)
        self.done = model.num_timesteps
        latest = [episode["r"] for episode in model.ep_info_buffer or ()]
        return float(np.mean(latest)) if latest else float("nan")

    def _count_empty(self, step: Mapping[str, Any], _: Mapping[str, Any]) -> bool:
        for info in step["infos"]:
            self.empty += int("summary" in info and info["summary"]["arrived"] == 0)
        return True

    def save(self, path: Path, training: Mapping[str, Any]) -> None:
        """Writes what SB3 writes, and the record; see `Learner.save`."""
        save_model(self._model, path, {**training, "done": self.done})
