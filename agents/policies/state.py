"""What a model of Stable-Baselines3 has learnt, as arrays: nothing of it needs pickle.

Networks are kept under ``network/``, and the moments of optimisers and single numbers that
learning goes on from under ``learning/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

Arrays = Mapping[str, NDArray[Any]]
NETWORK: Final = "network/"
_LEARNING: Final = "learning/"


def network_state(policy: BasePolicy) -> dict[str, NDArray[Any]]:
    """Returns the weights of a policy's networks."""
    return {NETWORK + name: _array(value) for name, value in policy.state_dict().items()}


def restore_network(policy: BasePolicy, arrays: Arrays) -> None:
    """Takes over weights.

    Raises:
        ValueError: If they are those of other networks; the message names one that differs.
    """
    given = {n.removeprefix(NETWORK): a for n, a in arrays.items() if n.startswith(NETWORK)}
    wanted = policy.state_dict()
    for name in sorted(wanted.keys() | given.keys()):
        shapes = [tuple(part[name].shape) if name in part else None for part in (given, wanted)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"weights {name} have shape {shapes[0]}, the network's {shapes[1]}")
    policy.load_state_dict({name: torch.tensor(value) for name, value in given.items()})


def learning_state(model: BaseAlgorithm) -> dict[str, NDArray[Any]]:
    """Returns what learning goes on from besides the networks; not a replay buffer."""
    parts, numbers = model._get_torch_save_params()
    found = {f"{_LEARNING}{name}": _array(attrgetter(name)(model)) for name in numbers}
    for part in parts:
        if part != "policy":
            for index, moments in attrgetter(part)(model).state_dict()["state"].items():
                for name, value in moments.items():
                    found[f"{_LEARNING}{part}/{index}/{name}"] = _array(value)
    return found


def restore_learning(model: BaseAlgorithm, arrays: Arrays) -> None:
    """Takes over what `learning_state` returned."""
    parts, numbers = model._get_torch_save_params()
    for name in numbers:
        with torch.no_grad():
            attrgetter(name)(model).copy_(torch.tensor(arrays[_LEARNING + name]))
    for part in parts:
        if part == "policy":
            continue
        optimiser = attrgetter(part)(model)
        state = optimiser.state_dict()
        prefix = f"{_LEARNING}{part}/"
        for key in (key for key in arrays if key.startswith(prefix)):
            index, name = key.removeprefix(prefix).split("/")
            state["state"].setdefault(int(index), {})[name] = torch.tensor(arrays[key])
        optimiser.load_state_dict(state)


def _array(value: Any) -> NDArray[Any]:
    return np.array(torch.as_tensor(value).detach().cpu().numpy())
