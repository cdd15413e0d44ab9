"""Rollouts: the same request streams played by rule after rule, without a step of Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.rules.draws import random_source
from edgecloud_gym.config import Priority
from edgecloud_gym.simulator.compiled.events import START
from edgecloud_gym.simulator.rules import Rule, RulePlayer, make_decision

Floats = NDArray[np.float64]


class Rollouts:
    """Episodes of an environment with given seeds, to be played by rules.

    Args:
        env: The environment; it plays nothing else meanwhile.
        seeds: A request stream for each, drawn once.
    """

    def __init__(self, env: gym.Env[Any, Any], seeds: Sequence[int]) -> None:
        base: Any = env.unwrapped
        self.simulator = base.simulator
        self._streams = []
        self.simulator.set_priority(None)
        for seed in seeds:
            env.reset(seed=seed)
            count = int(self.simulator.state.lanes[0]["requests"])
            requests = self.simulator.state.requests[0, :count]
            self._streams.append((requests["arrival"].copy(), requests["row"].copy()))
        self._random = random_source(np.random.default_rng(0))
        self._output = self.simulator.output()
        self._players: dict[Rule, RulePlayer] = {}

    def play(
        self, rule: Rule, priority: Priority, facts: Floats, parameters: Floats
    ) -> list[Floats]:
        """Plays all streams.

        Args:
            rule: Decides.
            priority: The order of the queue.
            facts: What the rule knows of each dataset row.
            parameters: Its numbers.

        Returns:
            The JCTs (s) of each stream's requests, in order of arrival.
        """
        simulator = self.simulator
        simulator.set_priority(priority)
        jcts = []
        for arrivals, rows in self._streams:
            simulator.begin_with(0, arrivals, rows)
            simulator.run(START, self._output)
            decision = make_decision(
                simulator,
                facts=facts,
                parameters=parameters,
                memory=np.zeros(1),
                random=self._random,
                calls=np.full(1, -1),
            )
            if rule not in self._players:
                self._players[rule] = RulePlayer(simulator, rule, decision)
            for _ in self._players[rule].play(decision):
                pass
            jcts.append(simulator.state.requests[0, : len(arrivals)]["finish"] - arrivals)
        return jcts


def mean_jct(jcts: Sequence[Floats]) -> float:
    """Returns the mean over episodes of the mean JCT (s)."""
    return float(np.mean([jct.mean() for jct in jcts]))


def tail_jct(jcts: Sequence[Floats], share: float = 0.95) -> float:
    """Returns the mean over episodes of a quantile of the JCT (s)."""
    return float(np.mean([np.quantile(jct, share) for jct in jcts]))
