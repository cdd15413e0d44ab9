"""Files of trained networks: weights as arrays, all else as JSON, nothing pickled.

They are checkpoints (`agents.checkpoint`). The settings in the header say what networks there are
and on what walk they play; a predictor that does not come with the package lies beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import read_header, read_state, write_checkpoint
from agents.prediction import Predictor, bundled_predictors, load_predictor, predictor_for
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from gymnasium import spaces
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

MODELS: Final = Path(__file__).parents[1] / "assets" / "models"
POLICIES: Final = ("ppo", "maskable-ppo", "a2c", "dqn", "sac", "recurrent-ppo")
_PREDICTOR: Final = "predictor"
_OF_TRAINING: Final = ("optimizer_class", "optimizer_kwargs", "use_sde")  # no part of a network


@dataclass(frozen=True)
class WalkSettings:
    """On what walk networks play; JSON values.

    Attributes:
        predictor: The name of a predictor that comes with the package; ``""`` for one that lies
            in the model's file.
        skips: How many candidates may be left waiting per decision.
        work_conserving: Whether idle places are filled.
        nodes: How many nodes there were in training.
        network: What the networks are made with besides the spaces.
    """

    predictor: str
    skips: int = 0
    work_conserving: bool = False
    nodes: int = 2
    network: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PolicyFile:
    """A trained network, read.

    Attributes:
        path: The file.
        agent: The algorithm's name, one of `POLICIES`.
        walk: On what walk it plays.
        arrays: What it has learnt.
        training: How it was trained.
    """

    path: Path
    agent: str
    walk: WalkSettings
    arrays: Mapping[str, NDArray[Any]]
    training: Mapping[str, Any]

    def predictor(self) -> Predictor:
        """Returns what predicts the requests."""
        if self.walk.predictor:
            return load_predictor(self.walk.predictor)
        with TemporaryDirectory() as folder:  # NumPy reads files
            kept = Path(folder) / "predictor.npz"
            kept.write_bytes(self.arrays[_PREDICTOR].tobytes())
            return Predictor.load(kept)

    def policy(self, observed: spaces.Dict, actions: spaces.Space[Any]) -> BasePolicy:
        """Returns the networks, for the spaces of a walk.

        Raises:
            ValueError: If they do not fit.
        """
        from agents.policies.algorithms import ALGORITHMS
        from agents.policies.state import restore_network

        algorithm = ALGORITHMS[self.agent]
        policy = algorithm.build(observed, actions, **self.walk.network)
        try:
            restore_network(policy, self.arrays)
        except ValueError as error:
            there = int(np.prod(observed["legal"].shape or ())) - 1
            hint = ""
            if not algorithm.walks and there != self.walk.nodes:
                hint = (
                    f"; networks of {self.agent} play the number of nodes that they learnt on, "
                    f"{self.walk.nodes}, and here are {there}"
                )
            raise ValueError(f"{self.path}: {error}{hint}") from error
        return policy


def write_policy(
    path: Path,
    agent: str,
    walk: WalkSettings,
    predictor: Predictor,
    arrays: Mapping[str, NDArray[Any]],
    training: Mapping[str, Any],
) -> None:
    """Writes a trained network, complete or not at all.

    Args:
        path: The file.
        agent: The algorithm's name.
        walk: On what walk it plays.
        predictor: What predicts the requests; kept in the file unless ``walk`` names it.
        arrays: What it has learnt.
        training: How it was trained, JSON values.
    """
    state = dict(arrays)
    if not walk.predictor:
        with TemporaryDirectory() as folder:
            kept = Path(folder) / "predictor.npz"
            predictor.save(kept)
            state[_PREDICTOR] = np.frombuffer(kept.read_bytes(), np.uint8)
    write_checkpoint(path, agent, asdict(walk), state, training)


def save_policy(model: BaseAlgorithm, path: str | Path, predictor: Predictor | None = None) -> None:
    """Saves a model of Stable-Baselines3 that you trained over `QueueHead`, without pickle.

    Args:
        model: The model, with its environment, such as `agents.policies.make_walk_env` makes.
        path: The file, .npz: ``edgecloud evaluate`` takes it, and so does
            ``make_agent("ppo", model=path)``.
        predictor: What predicts the requests that it is to meet; by default as of `make_walk_env`.

    Raises:
        ValueError: If its algorithm is none that can be kept so, or its environment another one.
    """
    from agents.policies.algorithms import ALGORITHMS
    from agents.policies.state import network_state

    known = {a.name: a for a in ALGORITHMS.values() if type(model) is a.make}
    name = next((n for n, a in known.items() if isinstance(model.policy, a.policy)), "")
    if not name:
        raise ValueError(
            f"{type(model).__name__} with {type(model.policy).__name__}: cannot be kept without "
            "pickle; use agents.save_model"
        )
    env = model.get_env()
    if env is None:
        raise ValueError("the model has no environment: it says on what walk it plays")
    walk, config = env.get_attr("walk", [0])[0], env.get_attr("config", [0])[0]
    predictor = predictor or predictor_for(load_dataset(config.dataset), None)
    settings = WalkSettings(
        named_predictor(predictor),
        walk.skips,
        config.work_conserving,
        walk.nodes,
        {n: v for n, v in model.policy_kwargs.items() if n not in _OF_TRAINING},
    )
    training: dict[str, Any] = {
        "env": None,
        "settings": {"work_conserving": config.work_conserving},
    }
    training |= {"done": model.num_timesteps}
    write_policy(Path(path), name, settings, predictor, network_state(model.policy), training)


def read_policy(path: Path) -> PolicyFile:
    """Reads a trained network; nothing in it is unpickled.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds no trained network, or is damaged.
    """
    try:
        header = read_header(path)
        if header["agent"] not in POLICIES:
            raise ValueError(f"of {shown(header['agent'])}")
        walk = WalkSettings(**header["settings"])
        return PolicyFile(path, header["agent"], walk, read_state(path), header["training"] or {})
    except (TypeError, ValueError) as error:
        raise UnreadableFileError(
            f"{path}: no trained network of {', '.join(POLICIES)}, or damaged ({error})"
        ) from error


def bundled_model(agent: str, system: str) -> Path:
    """Returns the file of a model that comes with the package.

    Args:
        agent: The algorithm's name.
        system: For what: ``"static"``, ``"time-series"``, ``"continuous"`` or ``"cluster"``.

    Raises:
        ValueError: If there is none; the message says which there are.
    """
    path = MODELS / f"{agent}-{system}.npz"
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in MODELS.glob("*.npz"))) or "none"
        raise ValueError(
            f"agent {shown(agent)}: no model for {system} comes with the package (there are: "
            f"{there}); train one with `edgecloud train {agent}` and name its file: "
            f"{agent}:model=FILE"
        )
    return path


def named_predictor(predictor: Predictor) -> str:
    """Returns the bundled name of a predictor, ``""`` for another one."""
    return next((name for name in bundled_predictors() if load_predictor(name) is predictor), "")
