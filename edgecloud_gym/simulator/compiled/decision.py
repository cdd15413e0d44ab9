"""What a compiled rule is handed: the state as an agent may see it, and the plan that it fills."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgecloud_gym.nodes import WAIT
from edgecloud_gym.simulator.compiled.inlining import inlined


class Decision(NamedTuple):
    """A decision epoch of a lane: what there is to see, and below it what is to be decided.

    Nothing here tells how long a request takes before it has finished.

    Attributes:
        settings: `PARAMETERS_DTYPE` (1,).
        lane: `LANE_DTYPE` (1,); candidates are the first ``window_size`` of the window.
        step: `STEP_DTYPE` (1,), what the last step yielded.
        nodes: `NODE_DTYPE` (nodes,), what the nodes are.
        states: `NODE_STATE_DTYPE` (nodes,), how busy they are.
        curves: All nodes' slowdown curves, float64; see ``first_curve`` of a node.
        requests: `REQUEST_DTYPE` (requests,), in order of arrival.
        finished: Who is done, by their place in ``requests``, in that order, int32 (requests,); of
            them those from ``done_before`` on since the last step.
        window: Who the candidates are, by their place in ``requests``, int32 (M,).
        signals: What is shown of a cluster's nodes, ``signal_age`` old, float32 (nodes * F,).
        facts: What the agent knows of each dataset row, float64 (rows, k).
        parameters: The rule's numbers, float64 (n,).
        memory: What it keeps from one decision to the next, float64 (m,); 0 at first.
        random: Where its random numbers come from, uint64 (3,); see `agents.rules.draws`.
        calls: How often it may still decide at this moment, int64 (1,); see `agents.rules.plan`.
        action: The decisions: 0 (wait) or 1 + node for each candidate, int64 (M,).
        unassigned: Which candidates wait still, bool (M,).
        room: How many requests each node still takes, int64 (nodes,).
    """

    settings: Any
    lane: Any
    step: Any
    nodes: Any
    states: Any
    curves: Any
    requests: Any
    finished: Any
    window: Any
    signals: Any
    facts: Any
    parameters: Any
    memory: Any
    random: Any
    calls: Any
    action: Any
    unassigned: Any
    room: Any


@inlined
def begin_plan(d):
    """Empties the plan: everybody waits."""
    for k in range(len(d.room)):
        d.room[k] = d.states[k].room
    for j in range(len(d.action)):
        d.action[j] = WAIT
        d.unassigned[j] = j < d.lane[0].window_size
