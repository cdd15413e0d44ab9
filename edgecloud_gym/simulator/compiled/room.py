"""Compiled room: how many requests each node takes now."""

from __future__ import annotations

import numba

from edgecloud_gym.nodes import CLOUD_NODE, EDGE_NODE


@numba.njit
def edge_is_free(p, lane):
    """Whether a service can start on the edge."""
    return lane.edge_busy < p.edge_slots


@numba.njit
def cloud_is_free(p, lane):
    """Whether a service can start in the cloud."""
    return lane.cloud_busy < p.cloud_slots


@numba.njit
def find_room(p, lane):
    """Writes how many requests each node takes: a free batch slot its full capacity."""
    lane.room[EDGE_NODE] = (p.edge_slots - lane.edge_busy) * p.batch_capacity
    lane.room[CLOUD_NODE] = p.cloud_slots - lane.cloud_busy
