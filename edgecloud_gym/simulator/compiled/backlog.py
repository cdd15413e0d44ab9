"""Compiled backlogs: requests that were dispatched to a node and are not in service there yet.

They are served first come first served. Those on their way to sequences queue as well, and start
no sooner than they are there. An engine queues by itself what has reached it.
"""

from __future__ import annotations

from edgecloud_gym.simulator.compiled.inlining import inlined
from edgecloud_gym.simulator.compiled.slots import close, join
from edgecloud_gym.simulator.parameters import SEQUENCES


@inlined
def append(node, served, request):
    """Puts a request at the end of a node's queue."""
    if node.queued == 0:
        node.head = request
    else:
        served[node.tail].queued_next = request
    node.tail = request
    node.queued += 1


@inlined
def pop(node, served):
    """Takes the head of a node's queue, which is not empty."""
    request = node.head
    node.head = served[request].queued_next
    node.queued -= 1
    return request


@inlined
def must_queue(spec, node):
    """Whether a request that is dispatched now does not start at once."""
    return node.busy == spec.services or (spec.kind == SEQUENCES and spec.rtt > 0.0)


@inlined
def queue_request(v, spec, node, served, request):
    """Queues a request that is dispatched now; `v.requests` has its time of dispatch."""
    v.requests[request].slot = spec.first_slot
    append(node, served, request)
    if node.queued == 1 and node.busy < spec.services:
        node.next = min(node.next, _reaches(v, spec, request))


@inlined
def _reaches(v, spec, request):
    """When a request is there, of which `must_queue` said so."""
    rtt = spec.rtt if spec.kind == SEQUENCES else 0.0
    return v.requests[request].dispatch + rtt


@inlined
def start_queued(lane, v, spec, node, served):
    """Starts who can start now, after services ended or the head has come."""
    if node.queued == 0:
        return
    while node.busy < spec.services and node.queued > 0:
        if _reaches(v, spec, node.head) > lane.now:
            break
        request = pop(node, served)
        served[request].admitted = lane.now
        join(v, spec, node, request)
        if node.open == spec.capacity or node.queued == 0:
            close(lane, v, spec, node)
    await_head(v, spec, node)


@inlined
def await_head(v, spec, node):
    """Sees to it that the head of the queue is started when it comes, if it can be."""
    if node.queued > 0 and node.busy < spec.services:
        node.next = min(node.next, _reaches(v, spec, node.head))
