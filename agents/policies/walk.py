"""Networks over a walk along the queue, as `edgecloud_gym.wrappers.QueueHead` shows it.

Each node is encoded and scored with the same weights, next to the candidate at hand and the state
of the system (as in Deep Sets, Zaheer et al., 2017), and the candidates come one after the other:
to permute nodes or candidates permutes the choices. No weight belongs to a number of either, so
that what was learnt on three nodes and 32 candidates plays any others.

The choices' scores are those of a rule, linear in what is shown, and what the network adds, which
is 0 at first: learning starts where the rule is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from agents.policies.candidates import ILLEGAL
from agents.rules.walk.packing import SHARPNESS
from edgecloud_gym.wrappers.walk_features import WALK_NODES, WALK_SYSTEM

_KEYS: Final = ("candidate", "nodes", "system", "legal")  # in the order of the flat features

# A rule: what to add up of the columns of nodes and system for a node's score, and of the columns
# of the system for that of waiting; "bias" is added as it is.
Rule = Mapping[str, Mapping[str, float]]


class WalkExtractor(BaseFeaturesExtractor):
    """Puts what is shown into one row: candidate, nodes, system, legal.

    Attributes:
        sizes: How long candidate and system are, and (N, F) of the nodes.
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        """Reads the sizes.

        Raises:
            ValueError: If it is not what `QueueHead` shows.
        """
        found = {name: space.shape or () for name, space in observation_space.items()}
        if sorted(found) != sorted(_KEYS):
            raise ValueError(
                f"observations have the keys {', '.join(found)}: the networks of a walk need "
                "those of edgecloud_gym.wrappers.QueueHead"
            )
        super().__init__(
            observation_space,
            sum(math.prod(shape) for shape in found.values()),
        )
        (candidate,), nodes, (system,) = (found[name] for name in _KEYS[:3])
        self.sizes: tuple[int, tuple[int, int], int] = (candidate, (nodes[0], nodes[1]), system)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns features (batch, C + N F + S + 1 + N)."""
        return torch.cat([observations[name].flatten(1) for name in _KEYS], dim=1)


class _Split:
    """Takes flat features apart again."""

    def __init__(self, sizes: tuple[int, tuple[int, int], int]) -> None:
        candidate, (nodes, width), system = sizes
        self._lengths = [candidate, nodes * width, system, 1 + nodes]
        self._shape = (nodes, width)

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns candidate (batch, C), nodes (batch, N, F), system (batch, S), legal."""
        candidate, nodes, system, legal = torch.split(features, self._lengths, dim=1)
        return candidate, nodes.reshape(-1, *self._shape), system, legal


class WalkNet(nn.Module):
    """Encodes the nodes, and the system with the mean of its nodes."""

    def __init__(self, sizes: tuple[int, tuple[int, int], int], width: int) -> None:
        """Makes the network.

        Args:
            sizes: Of `WalkExtractor`.
            width: Length of a code.
        """
        super().__init__()
        candidate, (_, node), system = sizes
        self.split = _Split(sizes)
        self.of_node = nn.Linear(node, width)
        self.of_rest = nn.Linear(candidate + system, width, bias=False)
        self.of_mean = nn.Linear(width + candidate + system, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns codes of the nodes (batch, N, width) and of the system (batch, width)."""
        candidate, nodes, system, _ = self.split(features)
        rest = torch.cat([candidate, system], dim=1)
        rows = torch.relu(self.of_node(nodes) + self.of_rest(rest).unsqueeze(1))
        state = torch.relu(self.of_mean(torch.cat([rows.mean(dim=1), rest], dim=1)))
        return rows, state


class RuleScores(nn.Module):
    """Scores of a rule that is linear in columns by name.

    Args:
        sizes: Of `WalkExtractor`.
        rule: ``{"node": {column: weight}, "wait": {column: weight}}``; see `Rule`.
        learn: Whether learning may change the weights.
    """

    def __init__(
        self, sizes: tuple[int, tuple[int, int], int], rule: Rule, learn: bool = False
    ) -> None:
        super().__init__()
        self.split = _Split(sizes)
        unknown = rule.keys() - {"node", "wait"}
        if unknown:
            raise ValueError(f"rule has {sorted(unknown)}: must have 'node' and 'wait'")
        node, wait = dict(rule.get("node", {})), dict(rule.get("wait", {}))
        of_nodes, of_system = WALK_NODES.positions._fields, WALK_SYSTEM.positions._fields
        weights = {
            "node": [node.pop(f"node.{name}", node.pop(name, 0.0)) for name in of_nodes],
            "system": [node.pop(f"system.{name}", 0.0) for name in of_system],
            "wait": [wait.pop(name, 0.0) for name in of_system],
            "bias": [node.pop("bias", 0.0), wait.pop("bias", 0.0)],
        }
        if node or wait:
            raise ValueError(
                f"rule has columns {sorted([*node, *wait])}: a node's are {', '.join(of_nodes)}, "
                f"system.{', system.'.join(of_system)} and bias; those of waiting "
                f"{', '.join(of_system)} and bias"
            )
        for name, values in weights.items():
            tensor = torch.tensor(values, dtype=torch.float32)
            if learn:
                self.register_parameter(f"{name}_weights", nn.Parameter(tensor))
            else:
                self.register_buffer(f"{name}_weights", tensor)

    def forward(self, features: Tensor) -> Tensor:
        """Returns scores (batch, 1 + N): to wait, and of each node."""
        _, nodes, system, _ = self.split(features)
        weights = {name: getattr(self, f"{name}_weights") for name in ("node", "system", "wait")}
        bias = getattr(self, "bias_weights")  # noqa: B009 - a tensor, registered by name
        shared = system @ weights["system"] + bias[0]
        scores = nodes @ weights["node"] + shared.unsqueeze(1)
        wait = system @ weights["wait"] + bias[1]
        return torch.cat([wait.unsqueeze(1), scores], dim=1)


class ChoiceHead(nn.Module):
    """Scores of the choices, so low where illegal that they are not chosen.

    Args:
        sizes: Of `WalkExtractor`.
        width: Length of a code.
        rule: What it starts from; None for nothing.
        sharpness: By what the rule's scores are multiplied: the larger, the less is tried out.
        learn_rule: Whether learning may change the rule's weights as well.
    """

    def __init__(
        self,
        sizes: tuple[int, tuple[int, int], int],
        width: int,
        rule: Rule | None,
        sharpness: float,
        learn_rule: bool,
    ) -> None:
        super().__init__()
        self.split = _Split(sizes)
        self.net = WalkNet(sizes, width)
        self.of_row = nn.Linear(width, width)
        self.of_state = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.wait = nn.Linear(width, 1)
        for layer in (self.score, self.wait):  # the rule alone, at first
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        self.rule = None if rule is None else RuleScores(sizes, rule, learn_rule)
        self.sharpness = sharpness

    def forward(self, features: Tensor) -> Tensor:
        """Returns scores (batch, 1 + N)."""
        rows, state = self.net(features)
        hidden = torch.tanh(self.of_row(rows) + self.of_state(state).unsqueeze(1))
        scores = torch.cat([self.wait(state), self.score(hidden).squeeze(2)], dim=1)
        if self.rule is not None:
            scores = scores + self.sharpness * self.rule(features)
        legal = self.split(features)[3] > 0.0
        return scores.masked_fill(~legal, ILLEGAL)


class StateValue(nn.Module):
    """The state's value, as what each request in the system adds to it.

    With rewards of minus the time that requests spend in the system a state is the worse the more
    there are: the network gives the share of one.
    """

    def __init__(self, sizes: tuple[int, tuple[int, int], int], width: int) -> None:
        super().__init__()
        self.split = _Split(sizes)
        self.net = WalkNet(sizes, width)
        self.value = nn.Linear(width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Returns values (batch, 1)."""
        system = self.split(features)[2]
        requests = torch.exp(system[:, WALK_SYSTEM.positions.requests]).unsqueeze(1)
        value: Tensor = self.value(self.net(features)[1]) * requests
        return value


def _give_heads(policy: Any, lr_schedule: Schedule, options: Mapping[str, Any]) -> None:
    """Puts the heads above in the place of SB3's, and makes the optimiser anew."""
    extractor = policy.features_extractor
    if not isinstance(extractor, WalkExtractor):
        raise TypeError(f"features_extractor_class={type(extractor)!r}: must be WalkExtractor")
    policy.action_net = ChoiceHead(extractor.sizes, **options)
    policy.value_net = StateValue(extractor.sizes, options["width"])
    settings: dict[str, Any] = {"lr": lr_schedule(1), **policy.optimizer_kwargs}
    policy.optimizer = policy.optimizer_class(policy.parameters(), **settings)


def _options(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a policy's arguments that are SB3's, and those of `ChoiceHead`."""
    own = {
        "width": kwargs.pop("width", 64),
        "rule": kwargs.pop("rule", None),
        "sharpness": kwargs.pop("sharpness", SHARPNESS),
        "learn_rule": kwargs.pop("learn_rule", False),
    }
    return {"features_extractor_class": WalkExtractor, **kwargs, "net_arch": []}, own


class WalkPolicy(MultiInputActorCriticPolicy):
    """For PPO and A2C over `QueueHead`; never chooses illegally.

    Keyword arguments: ``width``, ``rule``, ``sharpness`` and ``learn_rule`` of `ChoiceHead`, and
    those of SB3's ``MultiInputPolicy`` save ``net_arch``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        theirs, self._own = _options(kwargs)
        super().__init__(*args, **theirs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _give_heads(self, lr_schedule, self._own)


class MaskableWalkPolicy(MaskableMultiInputActorCriticPolicy):
    """For MaskablePPO over `QueueHead`; keyword arguments as `WalkPolicy`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        theirs, self._own = _options(kwargs)
        super().__init__(*args, **theirs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _give_heads(self, lr_schedule, self._own)


class WalkQPolicy(DQNPolicy):
    """For DQN over `QueueHead`; keyword arguments as `WalkPolicy`.

    The rule's scores are added to the values of the choices: a small ``sharpness`` ranks them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        theirs, self._own = _options(kwargs)
        super().__init__(*args, **theirs)

    def make_q_net(self) -> QNetwork:
        """Makes a network of values."""
        extractor = self.make_features_extractor()
        assert isinstance(extractor, WalkExtractor)
        settings = self._update_features_extractor(self.net_args, extractor)
        network = QNetwork(**settings)
        network.q_net = ChoiceHead(extractor.sizes, **self._own)  # type: ignore[assignment]
        return network.to(self.device)
