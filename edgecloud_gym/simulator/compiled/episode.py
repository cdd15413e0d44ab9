"""The compiled loop that plays a rule: decision after decision without a step of Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba

from edgecloud_gym.simulator.compiled.cache import CompiledFunction
from edgecloud_gym.simulator.compiled.decision import begin_plan
from edgecloud_gym.simulator.compiled.events import UNSEEN_STEP
from edgecloud_gym.simulator.compiled.pointers import call


def _build(sources: str, cache: bool) -> Callable[..., Any]:
    # Simulator and rule come as addresses of machine code that there is already.
    @numba.njit(cache=cache, nogil=True, error_model="numpy", _nrt=False)
    def play_rule(step_lanes, rule, decision, rewards, active, actions, rest):
        sources  # noqa: B018 - captured, so that it is part of the cache key
        step = decision.step[0]
        played = 0
        while played < len(rewards):
            begin_plan(decision)
            call(rule, (decision,))
            call(step_lanes, (UNSEEN_STEP, 0, 1, active, actions, *rest))
            rewards[played] = step.reward
            played += 1
            if step.terminated or step.truncated:
                break
        return played

    compiled: Callable[..., Any] = play_rule
    return compiled


play_rule: Final = CompiledFunction(_build)
