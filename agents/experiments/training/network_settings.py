"""The settings of networks in training: Stable-Baselines3's, and those of the walk."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Final

from edgecloud_gym.checks import (
    MOST,
    WIDEST,
    check_bool,
    check_choice,
    check_integer,
    check_number,
    did_you_mean,
)
from edgecloud_gym.wording import shown

# What SB3 would take without a word, or refuse with an assertion or in the middle of learning.
_LEAST: Final = {
    "n_steps": 1,
    "batch_size": 2,
    "n_epochs": 1,
    "stats_window_size": 1,
    "verbose": 0,
    "buffer_size": 1,
    "learning_starts": 0,
    "gradient_steps": -1,
    "target_update_interval": 1,
}
_SHARES: Final = ("gamma", "gae_lambda", "tau", "exploration_fraction", "exploration_final_eps")
_POSITIVE: Final = ("learning_rate", "clip_range", "clip_range_vf", "max_grad_norm", "target_kl")
_NOT_NEGATIVE: Final = ("ent_coef", "vf_coef")
_TRUTHS: Final = ("normalize_advantage", "use_sde")
_TAKEN: Final = (
    "self",
    "policy",
    "env",
    "seed",
    "device",
    "_init_setup_model",
    "policy_kwargs",
    "rollout_buffer_class",
    "rollout_buffer_kwargs",
    "replay_buffer_class",
    "replay_buffer_kwargs",
)


HORIZON: Final = 60.0  # s


@dataclass(frozen=True)
class WalkOptions:
    """What a user may set of a network besides what the algorithm takes.

    Attributes:
        lanes: Systems that it learns in at a time; None for the algorithm's own number.
        width: Length of the networks' codes.
        rule: What they start from: ``"index"`` for the rule of the system; None for nothing.
        sharpness: By what the rule's scores are multiplied.
        learn_rule: Whether learning may change the rule's weights as well.
        skips: How many candidates may be left waiting per decision.
        horizon: Time in which a second's worth falls to 1/e, s; None to discount by step, with
            the algorithm's own ``gamma``.
        scale: Whether advantages are divided by 1 + the requests in the system.
        peers: How many lanes side by side meet the same requests.
        predictor: Name or file of the predictor; None for the bundled one of the dataset, or
            else one that is fitted on its train prompts.
    """

    lanes: int | None = None
    width: int = 64
    rule: str | None = "index"
    sharpness: float = 3.0
    learn_rule: bool = False
    skips: int = 0
    horizon: float | None = HORIZON
    scale: bool = True
    peers: int = 8
    predictor: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("skips", 0), ("peers", 1)):
            most = WIDEST if name == "width" else MOST
            check_integer(name, getattr(self, name), least=least, most=most)
        if self.lanes is not None:
            check_integer("lanes", self.lanes, least=1, most=MOST)
        check_choice("rule", self.rule or "none", ("index", "none"))
        check_number("sharpness", self.sharpness, above=0.0)
        if self.horizon is not None:
            check_number("horizon", self.horizon, above=0.0)
        for name in ("learn_rule", "scale"):
            check_bool(name, getattr(self, name))


def read_options(name: str, given: Mapping[str, Any]) -> tuple[WalkOptions, dict[str, Any]]:
    """Returns the settings that a user gave of a network: of the walk, and of its algorithm.

    Args:
        name: The algorithm's name.
        given: The settings.

    Raises:
        ModuleNotFoundError: If one needs a package that is not installed.
        TypeError: If there is no such setting, or a value is of a wrong type.
        ValueError: If a value is out of range.
    """
    from agents.policies.algorithms import ALGORITHMS

    own = [item.name for item in fields(WalkOptions)]
    parameters = inspect.signature(ALGORITHMS[name].make.__init__).parameters
    theirs = [parameter for parameter in parameters if parameter not in _TAKEN]
    known = [*theirs, *own]
    for setting in given:
        if setting not in known:
            hint = did_you_mean(setting, known)
            raise TypeError(
                f"{name} has no setting {shown(setting)}{hint}; it takes: {', '.join(known)}"
            )
    walk = WalkOptions(**{n: v for n, v in given.items() if n in own})
    rest = {n: v for n, v in given.items() if n not in own}
    for setting, value in rest.items():
        if value is None and parameters[setting].default is None:
            continue  # SB3's own default
        _check(setting, value)
    return walk, rest


def _check(name: str, value: Any) -> None:
    if callable(value) or (name == "ent_coef" and str(value).startswith("auto")):
        return  # a schedule; what SAC finds by itself
    if name in _LEAST:
        check_integer(name, value, least=_LEAST[name])
    elif name in _SHARES:
        check_number(name, value, least=0.0, most=1.0)
    elif name in _POSITIVE:
        check_number(name, value, above=0.0)
    elif name in _NOT_NEGATIVE:
        check_number(name, value, least=0.0)
    elif name in _TRUTHS:
        check_bool(name, value)
    elif name == "tensorboard_log":
        import_module("tensorboard")
