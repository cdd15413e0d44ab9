"""What the compiled walk reads and remembers, and where in one array each lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.rules.placement import placement_parameters
from edgecloud_gym.simulator.compiled.inlining import inlined, merged
from edgecloud_gym.simulator.parameters import prompt_feature
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wrappers.forecast import Forecast
from edgecloud_gym.wrappers.walk_features import CANDIDATE, WALK_NODES, WALK_SYSTEM

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

# The columns of the facts about a dataset row; behind them the forecast's features.
TIME: Final = 0  # predicted base latency (s)
LOG_TIME: Final = 1
OUTPUT: Final = 2  # predicted answer (tokens)
LOG_OUTPUT: Final = 3
PROMPT: Final = 4  # tokens
SHOWN_PROMPT: Final = 5
FEATURES: Final = 6

# The first parameters; behind them the weights, then those of `placement_parameters`.
_WIDTH: Final = 0
_CANDIDATE: Final = 1  # columns of a candidate
SKIPS: Final = 2
_PLACEMENT: Final = 3  # where those begin
_WEIGHTS: Final = 4
SHARPNESS: Final = 3.0  # of a network that does not say how sharp its rule is
_NODE: Final = len(WALK_NODES)
_SYSTEM: Final = len(WALK_SYSTEM)


class Weights(NamedTuple):
    """A network of `agents.policies.walk.ChoiceHead`, flat; matrices lie input by input."""

    of_node: Any
    of_node_bias: Any
    of_rest: Any
    of_mean: Any
    of_mean_bias: Any
    of_row: Any
    of_row_bias: Any
    of_state: Any
    score: Any
    wait: Any
    wait_bias: Any
    rule_node: Any
    rule_system: Any
    rule_wait: Any
    rule_bias: Any


class Walk(NamedTuple):
    """What is remembered between decisions, and room to work in, all float64.

    Attributes:
        lag: By how much nodes were slower than predicted of late (nodes,).
        sent: Requests that this decision has sent to each so far (nodes,).
        shortest: The shortest prediction among these, s (nodes,).
        plain: Predicted times until the candidate is done, s (nodes,).
        rest: What is shown of the candidate, then of the system (C + S,).
        shown: What is shown of the nodes (nodes * F,).
        codes: Codes of the nodes (nodes * width,), their mean, the state's and another (width,).
        scores: Of the choices (1 + nodes,).
        expected: Predicted times of those that were sent, s, by their place in ``requests``.
    """

    lag: Any
    sent: Any
    shortest: Any
    plain: Any
    rest: Any
    shown: Any
    codes: Any
    mean: Any
    state: Any
    hidden: Any
    scores: Any
    expected: Any


def walk_facts(forecast: Forecast, prompts: NDArray[Any] | None, mean_output: float) -> Floats:
    """Returns what the walk knows of dataset rows, float64 (rows, 6 + features).

    Args:
        forecast: What is predicted of them.
        prompts: Their prompts (tokens), if that is known.
        mean_output: What stands for their answers (tokens) where the forecast has none.
    """
    rows = len(forecast.time)
    prompt = np.zeros(rows) if prompts is None else np.asarray(prompts, np.float64)
    output = forecast.output_tokens
    output = np.full(rows, max(1.0, mean_output)) if output is None else output
    columns = [forecast.time, np.log(forecast.time), output, np.log(output)]
    shown = prompt_feature(prompt)
    return np.column_stack([*columns, prompt, shown, forecast.table()]).astype(np.float64)


def walk_parameters(
    arrays: Arrays, prefix: str, sharpness: float, skips: int, simulator: Simulator, features: int
) -> Floats:
    """Returns the walk's parameters, float64 (n,).

    Args:
        arrays: The weights by name.
        prefix: What the names of the network's begin with.
        sharpness: By what the rule's scores are multiplied.
        skips: How many candidates may be left waiting per decision.
        simulator: Where it plays.
        features: Of each request in the forecast.

    Raises:
        ValueError: If the weights are not those of such a network.
    """
    given = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    width = len(given.get("wait.weight", np.zeros((1, 0)))[0])
    candidate = len(CANDIDATE) + features
    shapes = _shapes(width, candidate, any(name.startswith("rule.") for name in given))
    for name in sorted(shapes.keys() | given.keys()):
        there = tuple(given[name].shape) if name in given else None
        if there != shapes.get(name):
            raise ValueError(f"weights {name} have shape {there}, the network's {shapes.get(name)}")
    parts = [_flat(name, given, sharpness) for name in _ORDER]
    begin = _WEIGHTS + sum(map(len, parts))
    head = [width, candidate, skips, begin]
    return np.concatenate([head, *parts, placement_parameters(simulator)]).astype(np.float64)


def walk_memory(simulator: Simulator, parameters: Floats, before: Floats) -> Floats:
    """Returns memory for all requests that there are in the simulator's lane, with what was in it.

    Args:
        simulator: Where the walk plays.
        parameters: Its parameters.
        before: Its memory up to now; empty at the beginning of an episode.
    """
    head = _head_size(len(simulator.config.nodes), parameters)
    lacking = head + simulator.state.requests.shape[1] - len(before)
    if not len(before):
        return np.concatenate([np.zeros(head), np.full(lacking - head, np.nan)])
    return np.pad(before, (0, max(0, lacking)), constant_values=np.nan)


def forget_expected(memory: Floats, nodes: int, parameters: Floats) -> None:
    """Forgets what was expected of whom."""
    memory[_head_size(nodes, parameters) :] = np.nan


# Weights of a network by their names in a file, in the order of `Weights`.
_RULE: Final = ("rule.node_weights", "rule.system_weights", "rule.wait_weights",
                "rule.bias_weights")  # fmt: skip
_ORDER: Final = (
    "net.of_node.weight", "net.of_node.bias", "net.of_rest.weight", "net.of_mean.weight",
    "net.of_mean.bias", "of_row.weight", "of_row.bias", "of_state.weight", "score.weight",
    "wait.weight", "wait.bias", *_RULE,
)  # fmt: skip


def _shapes(width: int, candidate: int, has_rule: bool) -> dict[str, tuple[int, ...]]:
    rest = candidate + _SYSTEM
    shapes: list[tuple[int, ...]] = [
        (width, _NODE), (width,), (width, rest), (width, width + rest), (width,), (width, width),
        (width,), (width, width), (1, width), (1, width), (1,), (_NODE,), (_SYSTEM,), (_SYSTEM,),
        (2,),
    ]  # fmt: skip
    named = dict(zip(_ORDER, shapes, strict=True))
    return named if has_rule else {n: shape for n, shape in named.items() if n not in _RULE}


def _flat(name: str, given: Arrays, sharpness: float) -> Floats:
    if name in _RULE:
        size = _shapes(0, 0, True)[name]
        return sharpness * np.asarray(given.get(name, np.zeros(size)), np.float64)
    return np.asarray(given[name], np.float64).T.ravel()


def _head_size(nodes: int, parameters: Floats) -> int:
    width, candidate = int(parameters[_WIDTH]), int(parameters[_CANDIDATE])
    of_nodes = nodes * (4 + _NODE + width)
    return of_nodes + candidate + _SYSTEM + 3 * width + 1 + nodes


@merged
def weights_of(parameters):
    """Takes the parameters apart: `Weights`."""
    w = int(parameters[_WIDTH])
    rest = int(parameters[_CANDIDATE]) + _SYSTEM
    a = _WEIGHTS
    b = a + _NODE * w
    c = b + w
    d = c + rest * w
    e = d + (w + rest) * w
    f = e + w
    g = f + w * w
    h = g + w
    i = h + w * w
    j = i + w
    k = j + w
    m = k + 1
    n = m + _NODE
    o = n + _SYSTEM
    p = o + _SYSTEM
    return Weights(
        parameters[a:b], parameters[b:c], parameters[c:d], parameters[d:e], parameters[e:f],
        parameters[f:g], parameters[g:h], parameters[h:i], parameters[i:j], parameters[j:k],
        parameters[k:m], parameters[m:n], parameters[n:o], parameters[o:p], parameters[p : p + 2],
    )  # fmt: skip


@merged
def walk_of(memory, parameters, nodes):
    """Takes the memory apart: `Walk`."""
    w = int(parameters[_WIDTH])
    rest = int(parameters[_CANDIDATE]) + _SYSTEM
    a = 4 * nodes
    b = a + rest
    c = b + nodes * _NODE
    d = c + nodes * w
    e = d + 3 * w
    f = e + 1 + nodes
    return Walk(
        memory[:nodes], memory[nodes : 2 * nodes], memory[2 * nodes : 3 * nodes],
        memory[3 * nodes : a], memory[a:b], memory[b:c], memory[c:d], memory[d : d + w],
        memory[d + w : d + 2 * w], memory[d + 2 * w : e], memory[e:f], memory[f:],
    )  # fmt: skip


@merged
def placement_of(parameters):
    """Returns what `agents.rules.placement` reads."""
    return parameters[int(parameters[_PLACEMENT]) :]


@inlined
def width_of(parameters):
    """Returns the length of a code."""
    return int(parameters[_WIDTH])


@inlined
def candidate_size(parameters):
    """Returns how many columns are shown of a candidate."""
    return int(parameters[_CANDIDATE])
