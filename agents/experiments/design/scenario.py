"""Where agents play: an environment with its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import gymnasium as gym

from agents.experiments.identity.fingerprint import file_digest, files_in, identify, without_code
from edgecloud_gym import CLUSTER_ID, ENV_IDS
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from edgecloud_gym.envs.vector import EdgeCloudVectorEnv

_OF_EPISODES: Final = {"max_episode_steps"}  # of `gymnasium.make`, and of the vector environments


@dataclass(frozen=True)
class Scenario:
    """An environment with its settings.

    Attributes:
        env_id: Gymnasium id.
        settings: Keyword arguments of `gymnasium.make`.
        label: What the ``env`` column of the results says; the id by default.
    """

    env_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if "priority" in self.settings:
            raise ValueError("priority: in an experiment each agent chooses the queue's order")
        object.__setattr__(self, "label", checked_label(self.label or self.env_id))

    @property
    def dataset(self) -> RequestDataset:
        """The requests, loaded once per process."""
        named = self.settings.get("dataset", SystemConfig.dataset)
        return named if isinstance(named, RequestDataset) else cached_dataset(named)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the scenario is, as a JSON value: its settings with their code and files."""
        others = {name: value for name, value in self.settings.items() if name != "dataset"}
        concerned = {"families": self.dataset.families} if self.settings.get("prompt_mix") else {}
        return {
            "label": self.label,
            "env": self.env_id,
            "settings": identify({**others, **concerned, "dataset": self.dataset}),
            "files": [file_digest(path) for path in files_in(others)],
        }

    def make(self, work_conserving: bool | None = None) -> gym.Env[Any, Any]:
        """Makes the environment.

        Args:
            work_conserving: Whether the agent that is to play needs idle places filled for it, its
                attribute of that name; the settings of the scenario override it, and where neither
                says anything, the environment's default stands.
        """
        try:
            return gym.make(self.env_id, **self._with_wishes(work_conserving))
        except (TypeError, ValueError) as error:
            # Gymnasium adds all settings to the message: without them it says what is wrong.
            own = error.__context__
            if isinstance(own, type(error)) and str(error).startswith(str(own)):
                raise own from None
            raise

    @property
    def has_lanes(self) -> bool:
        """Whether there is a native vector environment of it."""
        known = {item.name for item in dataclasses.fields(SystemConfig)} | _OF_EPISODES
        return self.env_id in (*ENV_IDS, CLUSTER_ID) and self.settings.keys() <= known

    def make_lanes(self, count: int, work_conserving: bool | None = None) -> EdgeCloudVectorEnv:
        """Makes a vector environment that one thread steps, if it `has_lanes`.

        Args:
            count: Of its lanes.
            work_conserving: As for `make`.
        """
        settings = self._with_wishes(work_conserving)
        made: Any = gym.make_vec(self.env_id, count, num_threads=1, **settings)
        return cast("EdgeCloudVectorEnv", made)

    def _with_wishes(self, work_conserving: bool | None) -> dict[str, Any]:
        wanted = {} if work_conserving is None else {"work_conserving": work_conserving}
        return {**wanted, **self.settings, "dataset": self.dataset}

    def check(self) -> None:
        """Makes the environment once.

        Raises:
            gymnasium.error.Error: If there is no such environment.
            TypeError: If a setting is unknown or of the wrong type.
            ValueError: If a setting is out of range, or no request can ever arrive.
        """
        self.make().close()


def configuration(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Returns every setting that an environment has, defaults included, as JSON values."""
    base: Any = env.unwrapped
    names = [item.name for item in dataclasses.fields(base.config) if item.init]
    values = {name: getattr(base.config, name) for name in names if name != "priority"}
    identities = {name: identify(v) for name, v in {**values, "dataset": base.dataset}.items()}
    return {name: without_code(identity) for name, identity in identities.items()}


@lru_cache(maxsize=4)
def cached_dataset(name_or_path: str | Path) -> RequestDataset:
    """Loads a dataset, or returns it if this process has loaded it before."""
    return load_dataset(name_or_path)


def checked_label(label: object) -> str:
    """Returns a label after checking that it is one line of text.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is blank or holds control characters.
    """
    if not isinstance(label, str):
        raise TypeError(f"label={shown(label)}: must be text")
    if not label.strip() or not label.isprintable():
        raise ValueError(f"label={shown(label)}: must be one line of printable characters")
    return label
