"""Compiled changes of speed: what a node works at from a known time on.

A node's pace is the inverse of its speed: how many seconds a second of work takes. What is in
service has done its work so far at the old pace, and does the rest at the new one.
"""

from __future__ import annotations

import numpy as np

from edgecloud_gym.simulator.compiled.backlog import await_head
from edgecloud_gym.simulator.compiled.engine import engine_change_pace
from edgecloud_gym.simulator.compiled.inlining import compiled, merged
from edgecloud_gym.simulator.compiled.queueing import push_busy
from edgecloud_gym.simulator.compiled.service import read_clock, schedule
from edgecloud_gym.simulator.parameters import ENGINE, SEQUENCES


@compiled
def _change_pace(spec, node, slots, curves, now, pace):
    """Changes the pace of a node whose services that are due have ended."""
    read_clock(spec, node, curves, now)
    if spec.kind != SEQUENCES:
        # Marks are times, which move; the order of the heap may change with them.
        longer = pace / node.pace
        for i in range(node.busy):
            index = slots[spec.first_slot + i].order
            slot = slots[index]
            begun = max(now, slot.start + spec.rtt)
            slot.mark = begun + (slot.mark - begun) * longer
            push_busy(slots, spec.first_slot, i, index)
    node.pace = pace
    schedule(spec, node, slots, curves)


@merged
def change_speeds(lane, v, served, engines):
    """Makes the changes that are due now, after what ends now has ended."""
    while lane.next_change <= lane.now:
        change = v.changes[lane.changed]
        spec = v.nodes[change.node]
        node = v.states[change.node]
        if engines is not None and spec.kind == ENGINE:
            m = engines.settings[spec.engine]
            engine_change_pace(m, engines.states[spec.engine], lane.now, change.pace)
        else:
            _change_pace(spec, node, v.slots, v.curves, lane.now, change.pace)
            if served is not None:
                await_head(v, spec, node)
        lane.changed += 1
        lane.next_change = np.inf
        if lane.changed < len(v.changes):
            lane.next_change = v.changes[lane.changed].time
