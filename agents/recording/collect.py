"""Recording what an agent sees and does, as a dataset of Minari; needs `minari`.

Minari's own ``DataCollector`` sees what ``step`` returns. An agent that ranks the queue anew sees
something else at that moment, and its order is in no setting of the environment: what is learnt
from such a recording is wrong, and nobody notices. This one records what the agent acted on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agents.base import Agent
from agents.registry import make_agent
from edgecloud_gym.checks import check_bool, check_integer

if TYPE_CHECKING:
    import gymnasium as gym
    from minari import MinariDataset

_NAMESPACE: Final = "edgecloud"

Tell = Callable[[int, Mapping[str, float]], None]


def collect(
    env: str | gym.Env[Any, Any],
    agent: str | Agent,
    episodes: int,
    path: str | Path | None = None,
    *,
    seed: int = 0,
    explore: bool = True,
    dataset_id: str | None = None,
    author: str | None = None,
    description: str | None = None,
    progress: Tell | None = None,
    **settings: Any,
) -> MinariDataset:
    """Plays an agent and records it as a dataset of Minari.

    Episode i is reset with ``seed + i``. Each observation is the one that the agent acted on, with
    the queue in the order that the agent had chosen. ``infos`` have, besides what the environment
    tells at each step, ``request`` and ``row`` (M,): the candidates' request ids and dataset rows,
    -1 where there is none; and of an agent that says how likely its choices are (see
    `Agent.probabilities`) ``propensity`` (M,): the probability with which each candidate was sent
    where it was sent. Entry t belongs to observation t; the last one, of the end, has no choice,
    and propensity 1. The metadata of an episode are its ``summary`` and return.

    ``dataset.recover_environment()`` replays exactly: reset it with the episode's seed and take the
    recorded actions. ``recover_environment(eval_env=True)`` is for other agents.

    Args:
        env: An id, or an environment made by `gymnasium.make`, of which the settings are taken: it
            is made anew, filling idle places as the agent needs it unless a setting says so.
        agent: Who plays, or a name of `agents.registry`. What it learns it keeps.
        episodes: How many.
        path: The folder of the dataset, which must not exist; by default where Minari keeps the
            dataset of this id, so that ``minari.load_dataset`` finds it.
        seed: Of the first episode; what the agent draws follows from it as well.
        explore: Whether the agent may try things out and learn.
        dataset_id: ``edgecloud/continuous/cn-ducb-v0`` by default, of this environment and agent.
        author: Who recorded it, for the metadata.
        description: For the metadata.
        progress: Told, after each episode, how many are done, and its summary.
        **settings: Of the environment, where ``env`` is an id.

    Returns:
        The dataset. Its folder appears complete or not at all.

    Raises:
        FileExistsError: If there is a dataset already.
        ModuleNotFoundError: If Minari is not installed.
        TypeError: If ``env`` is not an EdgeCloud environment with its own observations and actions,
            or another argument is of a wrong type.
        ValueError: If a setting is out of range, or the id is none.

    Warns:
        UserWarning: If a setting has no form in JSON. Then the environment cannot be recovered from
            the dataset; everything else is there.
    """
    minari = _minari()
    from agents.recording.recorder import DATA, Recorder, specification

    episodes = check_integer("episodes", episodes, least=1)
    seed = check_integer("seed", seed, least=0)
    check_bool("explore", explore)
    player = make_agent(agent) if isinstance(agent, str) else agent
    if not isinstance(player, Agent):
        raise TypeError(f"agent={agent!r}: must be an Agent, or the name of one")
    spec = specification(env, settings, player)
    named = checked_id(dataset_id or default_id(spec.id, player.name))
    place = place_of(named) if path is None else Path(path).resolve()  # h5py needs it absolute
    if place == place_of(named):
        _make_namespace(named)
    with _new_folder(place) as folder:
        recorder = Recorder.begin(player, spec, folder, place, named)
        for number in range(episodes):
            recorder.play(seed + number, explore)
            if progress is not None:
                progress(number + 1, recorder.summary)
        recorder.end(author, description)
    return minari.MinariDataset(place / DATA)


def _minari() -> Any:
    try:
        import h5py  # noqa: F401 # what Minari keeps its data in
        import minari
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; recording needs pip install 'edgecloud-gym[minari]'",
            name=error.name,
        ) from error
    return minari


def default_id(env_id: str, agent: str) -> str:
    """Returns Minari's id for an agent in an environment.

    >>> default_id("EdgeCloud-Continuous-v0", "cn-ducb")
    'edgecloud/continuous/cn-ducb-v0'
    """
    short = env_id.rpartition(":")[2].split("-")[1].casefold()
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in agent)
    return f"{_NAMESPACE}/{short}/{name}-v0"


def checked_id(dataset_id: str) -> str:
    """Returns an id of a dataset after checking it.

    Raises:
        ValueError: If it has another form.
    """
    if not isinstance(dataset_id, str) or not re.fullmatch(
        r"([-_\w][-_\w/]*[-_\w]+/)?[-_\w]+-v\d+", dataset_id
    ):
        raise ValueError(
            f"dataset_id={dataset_id!r}: must be NAME-v0 or NAMESPACE/NAME-v0, with any version"
        )
    return dataset_id


def place_of(dataset_id: str) -> Path:
    """Returns the folder where Minari looks for a dataset."""
    from minari.storage import get_dataset_path

    place: Path = get_dataset_path(checked_id(dataset_id))
    return place


def _make_namespace(dataset_id: str) -> None:
    """Makes the namespace of a dataset where Minari keeps its own, unless it is there."""
    from minari.namespace import create_namespace, list_local_namespaces

    namespace, _, _ = dataset_id.rpartition("/")
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """Yields a folder to fill, which takes its place if the block succeeds."""
    if place.exists():
        raise FileExistsError(f"{place}: exists already; name another folder, id or version")
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.with_name(f".{place.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
