"""Recording what an agent sees and does, as a dataset of Minari; needs `minari`.

Minari's own ``DataCollector`` sees what ``step`` returns. An agent that ranks the queue anew sees
something else at that moment, and its order is in no setting of the environment: what is learnt
from such a recording is wrong, and nobody notices. This one records what the agent acted on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gymnasium

from agents.base import Agent
from agents.recording.unfinished import Unfinished, partial_folder, unfinished
from agents.registry import make_agent
from agents.report.words import counted
from edgecloud_gym.checks import check_bool, check_integer
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from minari import MinariDataset

    from agents.recording.recorder import Recorder

_NAMESPACE: Final = "edgecloud"

Tell = Callable[[int, Mapping[str, float]], None]


def collect(
    env: str | gymnasium.Env[Any, Any],
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

    A recording that breaks off (an interruption, a failure) keeps its finished episodes in
    ``PATH.partial``. The same call goes on after them, and the dataset is then the one of a call
    that was not broken off; ``episodes`` may be another number.

    Args:
        env: An id, or an environment made by `gymnasium.make`, of which the settings are taken: it
            is made anew, filling idle places as the agent needs it unless a setting says so.
        agent: Who plays, or a name of `agents.registry`. What it learns it keeps.
        episodes: How many.
        path: The folder of the dataset, which must not exist; by default where Minari keeps the
            dataset of this id, so that ``minari.load_dataset`` finds it. Elsewhere it may be moved:
            `load_recording` reads it.
        seed: Of the first episode; what the agent draws follows from it as well.
        explore: Whether the agent may try things out and learn.
        dataset_id: ``edgecloud/continuous/cn-ducb-v0`` by default, of this environment and agent.
        author: Who recorded it, for the metadata.
        description: For the metadata.
        progress: Told, after each episode that is played, how many are done, and its summary.
        **settings: Of the environment, where ``env`` is an id.

    Returns:
        The dataset. Its folder appears complete or not at all.

    Raises:
        FileExistsError: If there is a dataset already, or finished episodes of another one: with
            another agent, seed, environment or setting, which is named.
        ModuleNotFoundError: If Minari is not installed.
        TypeError: If ``env`` is not an EdgeCloud environment with its own observations and actions,
            or another argument is of a wrong type.
        ValueError: If a setting is out of range, or the id is none.

    Warns:
        UserWarning: If a setting has no form in JSON. Then the environment cannot be recovered from
            the dataset; everything else is there.
    """
    _require_minari()
    from agents.recording.assembly import Recording, kept_settings, metadata, read_recording
    from agents.recording.identity import begun_with
    from agents.recording.recorder import Recorder, specification
    from agents.recording.specification import addresses

    episodes = check_integer("episodes", episodes, least=1)
    seed = check_integer("seed", seed, least=0)
    check_bool("explore", explore)
    player = make_agent(agent) if isinstance(agent, str) else agent
    if not isinstance(player, Agent):
        raise TypeError(f"agent={shown(agent)}: must be an Agent, or the name of one")
    spec = specification(env, settings, player)
    named = checked_id(dataset_id or default_id(spec.id, player.name))
    place = place_of(named) if path is None else Path(path).resolve()  # h5py needs it absolute
    if place == place_of(named).resolve():
        _make_namespace(named)
    with unfinished(place) as partial, closing(gymnasium.make(spec)) as played:
        address = addresses(place, named, place_of(named))
        kept = kept_settings(spec, address)
        recording = Recording(
            played, spec, kept, address, metadata(player, named, author, description)
        )
        recorder = Recorder(player, played, explore)
        recorder.prepare(seed)
        partial.require_same(begun_with(player, spec, named, seed, explore))
        learning = explore and player.learns
        _go_on(partial, recorder, episodes, seed, learning)
        for number in range(partial.count, episodes):
            partial.keep(recorder.play(seed + number), player.state() if learning else None)
            if progress is not None:
                progress(number + 1, recorder.summary)
        recording.write(partial, place)
    return read_recording(place)


def load_recording(recording: str | Path) -> MinariDataset:
    """Returns a recording, wherever it lies now.

    ``minari.load_dataset`` finds those that lie where Minari keeps its datasets. This reads others
    as well, folders that were moved or came from another machine: what their environments are made
    from, which lies in them, is found there.

    Args:
        recording: A recording's folder, which has ``data`` in it, or an id of Minari.

    Raises:
        FileNotFoundError: If there is none, or it is not complete.
        ModuleNotFoundError: If Minari is not installed.
    """
    _require_minari()
    from agents.recording.assembly import DATA, read_recording

    folder = Path(recording).resolve()
    if not (folder / DATA).is_dir() and isinstance(recording, str) and _is_id(recording):
        folder = place_of(recording)
    if not (folder / DATA).is_dir():
        partial = Unfinished(partial_folder(folder)).count
        hint = (
            f"; {counted(partial, 'episode')} of it lie in {partial_folder(folder)}, and the "
            "command that recorded them goes on there"
        )
        raise FileNotFoundError(f"{folder}: holds no recording{hint if partial else ''}")
    return read_recording(folder)


def _go_on(
    partial: Unfinished, recorder: Recorder, episodes: int, seed: int, learning: bool
) -> None:
    """Brings an agent to where a recording broke off.

    Raises:
        FileExistsError: If that is not possible, or more episodes are finished than are wanted.
    """
    done = partial.count
    if done > episodes:
        raise FileExistsError(
            f"episodes={episodes}: {partial.folder} holds {done} finished episodes; ask for at "
            "least as many, or remove it"
        )
    if done and learning:
        agent = recorder.agent
        if type(agent).state is Agent.state:
            raise FileExistsError(
                f"{partial.folder}: holds {done} finished episodes, and what agent {agent.name!r} "
                "had learnt by then is not known: its class must define state and restore; remove "
                "the folder to begin anew"
            )
        recorder.prepare(seed, partial.learnt())


def _require_minari() -> None:
    try:
        import h5py  # noqa: F401 # what Minari keeps its data in
        import minari  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed; recording needs pip install 'edgecloud-gym[minari]'",
            name=error.name,
        ) from error


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
    if not isinstance(dataset_id, str) or not _is_id(dataset_id):
        raise ValueError(
            f"dataset_id={shown(dataset_id)}: must be NAME-v0 or NAMESPACE/NAME-v0, with any "
            "version"
        )
    return dataset_id


def _is_id(text: str) -> bool:
    return re.fullmatch(r"([-_\w][-_\w/]*[-_\w]+/)?[-_\w]+-v\d+", text) is not None


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
