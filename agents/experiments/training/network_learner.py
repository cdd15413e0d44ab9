"""Networks in training: Stable-Baselines3's algorithms on walks along the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from agents.experiments.design.replay import ReplayedDataset, whole
from agents.experiments.design.scenario import Scenario
from agents.experiments.training.learners import Learner
from agents.experiments.training.network_settings import HORIZON, read_options
from agents.prediction import predictor_for
from agents.prediction.forecasts import cross_fitted
from agents.schedulers.policy_file import (
    WalkSettings,
    named_predictor,
    read_policy,
    write_policy,
)
from agents.threads import one_thread
from edgecloud_gym.wrappers.forecast import Forecast

_OFF_POLICY_STRIDE: Final = 10_000  # steps between chances to save


class NetworkLearner(Learner):
    """A network learns on a walk, in many systems at a time.

    Taken up again, it goes on in new episodes: only uninterrupted training is repeatable.

    Args:
        name: Of the algorithm.
        options: See `read_options`.
        scenarios: Where it learns: in equal shares in each, which must have as many nodes.
        seed: Seeds the episodes, the first weights and the choices.
        resume: What it goes on from, and after how many steps.
    """

    unit = "step"

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        scenarios: Sequence[Scenario],
        seed: int,
        resume: tuple[Path, int] | None,
    ) -> None:
        from agents.policies.algorithms import ALGORITHMS
        from agents.policies.state import restore_learning, restore_network

        self.name = name
        self._algorithm = ALGORITHMS[name]
        self._options, theirs = read_options(name, options)
        # A prompt that a trace asks for often is one prompt to a predictor.
        dataset = whole(scenarios[0].dataset)
        self._predictor = predictor_for(dataset, self._options.predictor)
        self._forecast = cross_fitted(self._predictor, dataset)
        path, self.done = resume or (None, 0)
        own_seed = int(np.random.SeedSequence([seed, self.done]).generate_state(1)[0])
        self._envs, simulators = self._make_envs(scenarios)
        config = simulators[0].config
        network = self._network(config.batching)
        self._walk = WalkSettings(
            named_predictor(self._predictor),
            self._options.skips,
            bool(config.work_conserving),
            len(config.nodes),
            network,
        )
        settings = {**self._algorithm.settings, **theirs, **self._in_time(simulators)}
        if "n_steps" in settings and "batch_size" in settings and "batch_size" not in theirs:
            # Batches of equal size, so that SB3 does not warn of a truncated one.
            rollout = settings["n_steps"] * self._envs.num_envs
            settings["batch_size"] = rollout // -(-rollout // settings["batch_size"])
        with one_thread():
            self._model: Any = self._algorithm.make(
                self._algorithm.policy,
                self._envs,
                seed=own_seed,
                device="cpu",
                policy_kwargs=dict(network),  # A2C adds to it
                **settings,
            )
            if path is not None:
                kept = read_policy(path)
                restore_network(self._model.policy, kept.arrays)
                restore_learning(self._model, kept.arrays)
                self._model.num_timesteps = self.done
        # Peers meet the same requests; they are seeded when learning begins.
        peers = self._options.peers if self._algorithm.timed else 1
        seeds = np.random.SeedSequence(own_seed).generate_state(self._envs.num_envs)
        self._envs._seeds = [int(seeds[lane // peers]) for lane in range(self._envs.num_envs)]
        steps = getattr(self._model, "n_steps", None)
        lanes = self._envs.num_envs
        self._whole_rollouts = steps is not None
        self.stride = lanes * (steps or -(-_OFF_POLICY_STRIDE // lanes))

    def _make_envs(self, scenarios: Sequence[Scenario]) -> tuple[Any, list[Any]]:
        """Returns the environments, side by side, and their simulators."""
        from edgecloud_gym.sb3 import JoinedVecEnv, make_vec_env
        from edgecloud_gym.wrappers.vector import QueueHead

        lanes = self._options.lanes or self._algorithm.lanes
        each = max(1, lanes // len(scenarios))
        peers = self._options.peers if self._algorithm.timed else 1
        each = -(-each // peers) * peers
        wrapper = partial(QueueHead, skips=self._options.skips, scores=self._algorithm.scores)
        parts = [
            make_vec_env(
                scenario.env_id,
                each,
                None,
                partial(wrapper, forecast=self._forecast_of(scenario)),
                **self._settings(scenario),
            )
            for scenario in scenarios
        ]
        return JoinedVecEnv(parts), [part.get_attr("simulator", [0])[0] for part in parts]

    def _forecast_of(self, scenario: Scenario) -> Forecast:
        """Returns what is predicted of the prompts of a scenario, one by one if it replays."""
        dataset = scenario.dataset
        if isinstance(dataset, ReplayedDataset):
            return self._forecast.of(dataset.source_rows)
        return self._forecast

    def _settings(self, scenario: Scenario) -> dict[str, Any]:
        """Returns the settings of an environment to learn in."""
        return {
            # Returns are then about as large as the number of requests in the system.
            "reward": {"jct": 1.0 / (self._options.horizon or HORIZON)},
            "work_conserving": False,
            **scenario.settings,
            "dataset": scenario.dataset,
            "observe": "id",  # the walk shows what it needs
            "num_threads": 1,  # quicker for so few lanes
        }

    def _network(self, batching: str) -> dict[str, Any]:
        """Returns what the networks are made with, as JSON values."""
        from agents.policies.rules import rule_for

        if not self._algorithm.walks:
            return {"net_arch": [self._options.width, self._options.width]}
        return {
            "width": self._options.width,
            "rule": rule_for(batching) if self._options.rule == "index" else None,
            "sharpness": self._options.sharpness,
            "learn_rule": self._options.learn_rule,
        }

    def _in_time(self, simulators: Sequence[Any]) -> dict[str, Any]:
        """Returns the settings that make an algorithm discount by time."""
        if not self._algorithm.timed or self._options.horizon is None:
            return {}
        from agents.policies.rollouts import MaskableTimedRolloutBuffer, TimedRolloutBuffer

        def clock() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            elapsed = [simulator.state.steps["elapsed"] for simulator in simulators]
            now = [simulator.state.lanes["now"] for simulator in simulators]
            return np.concatenate(elapsed), np.concatenate(now)

        masked = self.name == "maskable-ppo"
        options = self._options
        return {
            "rollout_buffer_class": MaskableTimedRolloutBuffer if masked else TimedRolloutBuffer,
            "rollout_buffer_kwargs": {
                "clock": clock,
                "horizon": options.horizon,
                "scale": options.scale,
                "peers": options.peers,
            },
        }

    def advance(self) -> float:
        """Learns from a rollout; returns the mean return of the last hundred episodes."""
        model = self._model
        before = model.num_timesteps
        left = self.stride if self._whole_rollouts else max(self.stride, self.total - self.done)

        def go_on(step: Mapping[str, Any], _: Mapping[str, Any]) -> bool:
            for info in step["infos"]:
                self.empty += int("summary" in info and info["summary"]["arrived"] == 0)
            return self._whole_rollouts or model.num_timesteps - before < self.stride

        with one_thread():
            model.learn(left, callback=go_on, reset_num_timesteps=False, tb_log_name=self.name)
        self.done = model.num_timesteps
        latest = [episode["r"] for episode in model.ep_info_buffer or ()]
        return float(np.mean(latest)) if latest else float("nan")

    def mean_jct(self, scenario: Scenario, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Plays as it would after training; see `Learner.mean_jct`."""
        from agents.policies.playing import play_lanes
        from edgecloud_gym.wrappers.vector import QueueHead

        envs: Any = gym.make_vec(
            scenario.env_id,
            len(seeds),
            autoreset_mode=AutoresetMode.NEXT_STEP,
            **self._settings(scenario),
        )
        walk = QueueHead(
            envs, self._forecast_of(scenario), self._options.skips, self._algorithm.scores
        )
        with one_thread():
            return play_lanes(walk, self._model.policy, seeds)

    def save(self, path: Path, training: Mapping[str, Any], *, going_on: bool = True) -> None:
        """Writes networks, and what learning goes on from; see `Learner.save`."""
        from agents.policies.state import learning_state, network_state

        arrays = network_state(self._model.policy)
        if going_on:
            arrays |= learning_state(self._model)
        record = {**training, "done": self.done}
        write_policy(path, self.name, self._walk, self._predictor, arrays, record)
