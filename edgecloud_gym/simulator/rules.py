"""Rules: compiled functions that decide, and playing an episode with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.simulator.compiled import episode
from edgecloud_gym.simulator.compiled.cache import CompiledFunction, SourcedCache
from edgecloud_gym.simulator.compiled.decision import Decision
from edgecloud_gym.simulator.simulator import Simulator

_CHUNK: Final = 2048  # decisions, some milliseconds, between two looks at Python's signals


class Rule:
    """A compiled function that reads a `Decision` and fills its plan; made by `rule`.

    It is compiled when it is first used.

    Args:
        function: What is compiled.
        sources: A digest of all sources that it may call: its machine code is kept on the disk
            until one of them changes. Without any it is compiled in every process, as nobody knows
            when it would be out of date.

    Attributes:
        function: What is compiled.
    """

    def __init__(self, function: Callable[[Decision], None], sources: str = "") -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self._sources = sources
        self._entry: Callable[[Decision], None] | None = None

    def __repr__(self) -> str:
        return f"<rule {self.function.__name__}>"

    def __reduce__(self) -> tuple[type[Rule], tuple[Any, ...]]:
        return Rule, (self.function, self._sources)  # machine code is a process's own

    def __call__(self, decision: Decision) -> None:
        """Adds to a decision's plan.

        Raises:
            numba.core.errors.NumbaError: If Numba cannot compile the function.
        """
        if self._entry is None:
            self._entry = self._compiled.compiled_for((decision,))
        self._entry(decision)

    def address(self, decision: Decision) -> int:
        """Returns where its machine code for such decisions is."""
        return self._compiled.address_for((decision,))

    @cached_property
    def _compiled(self) -> CompiledFunction:
        return CompiledFunction(self._build)

    def _build(self, sources: str, cache: bool) -> Any:
        del sources  # read now, and what it calls was read when it was imported
        # Nothing is allocated in a rule, so that Numba need not count references.
        dispatcher = numba.njit(error_model="numpy", _nrt=False)(self.function)
        if cache and self._sources:
            dispatcher._cache = SourcedCache(self.function, self._sources)
        return dispatcher


def rule(function: Callable[[Decision], None]) -> Rule:
    """Makes a rule of a function; a decorator.

    Numba compiles it: it may use numbers, loops and the functions of `agents.rules`, no objects,
    and must not make arrays: what it has to remember goes into ``decision.memory``.
    """
    return Rule(function)


def make_decision(
    simulator: Simulator,
    *,
    facts: NDArray[np.float64],
    parameters: NDArray[np.float64],
    memory: NDArray[np.float64],
    random: NDArray[np.uint64],
    calls: NDArray[np.int64],
) -> Decision:
    """Returns how a rule sees the simulator's one lane, until the next episode begins.

    Args:
        simulator: The simulator.
        facts: What the agent knows of each dataset row (rows, k).
        parameters: The rule's numbers (n,).
        memory: What it keeps (m,).
        random: Where its random numbers come from (3,).
        calls: How often it may still decide at this moment (1,), -1 before the first decision.
    """
    candidates, nodes = simulator.config.candidate_pool_size, len(simulator.config.nodes)
    state = simulator.state
    return Decision(
        settings=simulator.parameters,
        lane=state.lanes,
        step=state.steps,
        nodes=simulator.node_table,
        states=state.nodes[0],
        curves=simulator.curves,
        requests=state.requests[0],
        finished=state.finished[0],
        window=state.window[0],
        signals=state.signals[0],
        facts=facts,
        parameters=parameters,
        memory=memory,
        random=random,
        calls=calls,
        action=np.zeros(candidates, np.int64),
        unassigned=np.zeros(candidates, np.bool_),
        room=np.zeros(nodes, np.int64),
    )


class RulePlayer:
    """Plays episodes of a simulator's one lane by a rule.

    Args:
        simulator: One lane.
        rule: Who decides.
        decision: One of its decisions, made by `make_decision`.

    Raises:
        numba.core.errors.NumbaError: If Numba cannot compile the rule.
    """

    def __init__(self, simulator: Simulator, rule: Rule, decision: Decision) -> None:
        self._simulator = simulator
        self._rewards = np.empty(_CHUNK)
        self._everyone = np.ones(1, np.bool_)
        output = simulator.output()
        self._unwritten = output.buffers
        self._addresses = (simulator.step_address, rule.address(decision))
        self._play = episode.play_rule.compiled_for((*self._addresses, *self._arguments(decision)))

    def play(self, decision: Decision) -> Iterator[float]:
        """Plays the episode that has begun to its end, decision by decision of the rule.

        Args:
            decision: Made for this episode by `make_decision`.

        Yields:
            The reward of each step. The simulator is up to `_CHUNK` steps ahead.
        """
        arguments = self._arguments(decision)
        step = self._simulator.state.steps[0]
        while True:
            played = self._play(*self._addresses, *arguments)
            yield from self._rewards[:played].tolist()
            if step["terminated"] or step["truncated"]:
                return

    def _arguments(self, decision: Decision) -> tuple[Any, ...]:
        actions = decision.action[np.newaxis]
        rest = (*self._simulator.arrays, *self._unwritten)
        return decision, self._rewards, self._everyone, actions, rest
