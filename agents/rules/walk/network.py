"""Scores of the choices of a walk: `agents.policies.walk.ChoiceHead`, compiled.

Sums run in one order, in double precision: the same scores on every machine, and torch's to
within the rounding of its single precision.
"""

from __future__ import annotations

import math

from agents.rules.walk.packing import width_of
from edgecloud_gym.simulator.compiled.inlining import compiled
from edgecloud_gym.wrappers.walk_features import WALK_NODES

_COLUMNS = len(WALK_NODES)


@compiled
def _add_product(matrix, inputs, out):
    """Adds a matrix times inputs; it lies input by input."""
    width = len(out)
    for i in range(len(inputs)):
        x = inputs[i]
        row = matrix[i * width : (i + 1) * width]
        for o in range(len(row)):
            out[o] += row[o] * x


@compiled
def _set(values, out):
    for o in range(len(out)):
        out[o] = values[o]


@compiled
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@compiled
def _rectify(values):
    for o in range(len(values)):
        values[o] = max(0.0, values[o])


@compiled
def _encode(weights, walk, nodes, w):
    """Computes the codes of nodes and of the state."""
    _set(weights.of_node_bias, walk.hidden)
    _add_product(weights.of_rest, walk.rest, walk.hidden)
    for o in range(w):
        walk.mean[o] = 0.0
    for k in range(nodes):
        code = walk.codes[k * w : (k + 1) * w]
        _set(walk.hidden, code)
        _add_product(weights.of_node, walk.shown[k * _COLUMNS : (k + 1) * _COLUMNS], code)
        _rectify(code)
        for o in range(w):
            walk.mean[o] += code[o] / nodes
    _set(weights.of_mean_bias, walk.state)
    _add_product(weights.of_mean[: w * w], walk.mean, walk.state)
    _add_product(weights.of_mean[w * w :], walk.rest, walk.state)
    _rectify(walk.state)


@compiled
def score_choices(parameters, weights, walk, system):
    """Scores what was shown: to wait, and each node; into ``walk.scores``."""
    w = width_of(parameters)
    nodes = len(walk.lag)
    _encode(weights, walk, nodes, w)
    rule = _dot(weights.rule_system, system) + weights.rule_bias[0]
    wait = _dot(weights.wait, walk.state) + weights.wait_bias[0]
    walk.scores[0] = wait + _dot(weights.rule_wait, system) + weights.rule_bias[1]
    _set(weights.of_row_bias, walk.mean)
    _add_product(weights.of_state, walk.state, walk.mean)  # what all nodes share
    for k in range(nodes):
        _set(walk.mean, walk.hidden)
        _add_product(weights.of_row, walk.codes[k * w : (k + 1) * w], walk.hidden)
        score = 0.0
        for o in range(w):
            score += weights.score[o] * math.tanh(walk.hidden[o])
        of_rule = _dot(weights.rule_node, walk.shown[k * _COLUMNS : (k + 1) * _COLUMNS])
        walk.scores[1 + k] = score + of_rule + rule
