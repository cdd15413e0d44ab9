"""Rules: compiled functions that decide, and playing an episode with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from edgecloud_gym.simulator.compiled import episode, events
from edgecloud_gym.simulator.compiled.decision import Decision
from edgecloud_gym.simulator.simulator import Simulator

_CHUNK: Final = 2048  # decisions, some milliseconds, between two looks at Python's signals


class Rule:
    """A compiled function that reads a `Decision` and fills its plan; made by `rule`.

    It is compiled when it is first used.

    Attributes:
        function: What is compiled.
        dispatcher: The function as Numba hands it to other compiled functions.
    """

    def __init__(self, function: Callable[[Decision], None]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        # Nothing is allocated in a rule, so that Numba need not count references.
        self.dispatcher = numba.njit(error_model="numpy", _nrt=False)(function)
        self._code: Callable[[Decision], None] | None = None

    def __repr__(self) -> str:
        return f"<rule {self.function.__name__}>"

    def __reduce__(self) -> tuple[type[Rule], tuple[Callable[[Decision], None]]]:
        return Rule, (self.function,)  # machine code is a process's own

    def __call__(self, decision: Decision) -> None:
        """Adds to a decision's plan.

        Raises:
            numba.core.errors.NumbaError: If Numba cannot compile the function.
        """
        if self._code is None:
            self.compile(numba.typeof(decision))
        assert self._code is not None
        self._code(decision)

    def compile(self, kind: Any) -> None:
        """Compiles the function for decisions of a Numba type, which all have in common."""
        self.dispatcher.compile((kind,))
        self._code = self.dispatcher.overloads[(kind,)].entry_point


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


def play_rule(simulator: Simulator, rule: Rule, decision: Decision) -> Iterator[float]:
    """Plays the episode that has begun to its end, decision by decision of a rule.

    Args:
        simulator: One lane, at a decision epoch.
        rule: Who decides.
        decision: Made for this episode by `make_decision`.

    Yields:
        The reward of each step. The simulator is up to `_CHUNK` steps ahead.
    """
    kind = numba.typeof(decision)
    rule.compile(kind)
    rewards = np.empty(_CHUNK)
    output = simulator.output()
    rest = (*simulator.arrays, output.floats, output.ids, output.masks)
    everyone, actions = np.ones(1, np.bool_), decision.action[np.newaxis]
    steps = tuple(numba.typeof(x) for x in (0, 0, 1, everyone, actions, *rest))
    others = (decision, rewards, everyone, actions, rest)
    play = episode.play_rule.compiled_as(
        (
            types.FunctionType(types.void(*steps)),
            types.FunctionType(types.void(kind)),
            *(numba.typeof(x) for x in others),
        )
    )
    while True:
        played = play(events.step_lanes.dispatcher, rule.dispatcher, *others)
        yield from rewards[:played].tolist()
        step = simulator.state.steps[0]
        if step["terminated"] or step["truncated"]:
            return
