"""Finished episodes as a dataset of Minari, and such a dataset read back."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.recording.specification import (
    QUEUE,
    Portable,
    UnspecifiableError,
    portable,
    repointed,
    with_order,
    with_settings,
)
from agents.recording.unfinished import Unfinished
from edgecloud_gym import __version__
from edgecloud_gym.dataset.writing import write_dataset
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.recorded import EpisodeOrder, fixed_table, write_order

if TYPE_CHECKING:
    import gymnasium as gym
    from minari import MinariDataset

DATA: Final = "data"


@dataclass(frozen=True)
class Recording:
    """What a dataset says besides its episodes.

    Attributes:
        env: Where they were played.
        spec: How that is made.
        kept: Its settings as the dataset has them; ``None`` if they have no form in JSON.
        address: How the specification names what lies in the recording.
        metadata: Minari's.
    """

    env: gym.Env[Any, Any]
    spec: Any
    kept: Portable | None
    address: Callable[[str], str]
    metadata: Mapping[str, Any]

    def write(self, unfinished: Unfinished, place: Path) -> None:
        """Makes a dataset of all finished episodes, which appears complete."""
        with _appearing(unfinished.folder, place) as folder:
            storage = self._storage(folder)
            orders = [self._keep(storage, n, e) for n, e in enumerate(unfinished.episodes())]
            ranked = any(order.scores or order.tables for order in orders)
            if ranked:
                write_order(folder / QUEUE, orders)
            if self.kept is not None and self.kept.dataset is not None:
                write_dataset(self.kept.dataset, folder / self.kept.dataset_folder)
            storage.update_metadata({**self.metadata, **self._specifications(orders, ranked)})

    def _storage(self, folder: Path) -> Any:
        from minari.dataset.minari_storage import MinariStorage

        (folder / DATA).mkdir()
        env = self.env
        return MinariStorage.new(
            folder / DATA, observation_space=env.observation_space, action_space=env.action_space
        )

    def _keep(self, storage: Any, number: int, episode: Any) -> EpisodeOrder:
        from minari.data_collector.episode_buffer import EpisodeBuffer

        storage.update_episodes([EpisodeBuffer(**episode.columns, seed=episode.seed)])
        storage.update_episode_metadata([dict(episode.facts)], [number])
        order: EpisodeOrder = episode.order
        return order

    def _specifications(self, orders: list[EpisodeOrder], ranked: bool) -> dict[str, str]:
        """Returns the specifications of the recorded environment and of one for other agents."""
        if self.kept is None:
            return {}
        plain = with_settings(self.spec, self.kept.settings)
        recorded = with_order(plain, self.address(QUEUE)) if ranked else plain
        fixed = fixed_table(orders) is not None
        return {
            "env_spec": recorded.to_json(),
            "eval_env_spec": (recorded if fixed else plain).to_json(),
        }


def kept_settings(spec: Any, address: Callable[[str], str]) -> Portable | None:
    """Returns an environment's settings as a dataset has them; ``None`` if it cannot.

    Warns:
        UserWarning: If a setting has no form in JSON.
    """
    try:
        return portable(spec.kwargs, address)
    except UnspecifiableError as error:
        warnings.warn(str(error), stacklevel=3)
        return None


def metadata(
    agent: Any, dataset_id: str, author: str | None, description: str | None
) -> dict[str, Any]:
    """Returns what Minari keeps of a dataset as a whole."""
    import minari

    found: dict[str, Any] = {
        "dataset_id": dataset_id,
        "algorithm_name": agent.name,
        "minari_version": minari.__version__,
        "requirements": [f"edgecloud-gym=={__version__}"],
        "description": description
        or f"Agent {shown(agent)} of edgecloud-gym; observations are what it acted on.",
    }
    return found if author is None else {**found, "author": {author}}


@contextmanager
def _appearing(partial: Path, place: Path) -> Iterator[Path]:
    """Yields a folder to fill, which takes its place if the block succeeds."""
    folder = partial / ".complete"  # hidden: Minari lists no half datasets
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was broken off
    folder.mkdir()
    yield folder
    folder.rename(place)


def read_recording(folder: Path) -> MinariDataset:
    """Returns the dataset in a recording's folder, whose environments can be made from it."""
    import minari

    found = minari.MinariDataset(folder / DATA)
    # Minari reads these from the folder's metadata, and has no other way to say where they point.
    found._env_spec = repointed(found._env_spec, folder)
    found._eval_env_spec = repointed(found._eval_env_spec, folder)
    return found
