"""The order of a waiting queue as it was when an agent ranked it, written down and played back.

An agent may rank the queue by what it has learnt so far. What it then saw depends on scores that no
setting of the environment holds: they are kept beside the recording, and this wrapper ranks by
them again, at the same moments. Stepped with the recorded actions, the environment is the same bit
for bit.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, SupportsFloat, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from edgecloud_gym.config import Priority
from edgecloud_gym.dataset.recorded import is_recorded, recorded_path
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.files import UnreadableFileError, replacing
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wording import shown

FORMAT: Final = "edgecloud-queue/1"
_KEYS: Final = {
    *("format", "seeds", "steps", "reranked", "calls", "lengths", "scores"),
    *("changes", "moments", "tables", "rates", "lasts", "fixed"),
}

BaseEnv: TypeAlias = gym.Env[Any, Any]
Floats: TypeAlias = NDArray[np.float64]


@dataclass
class EpisodeOrder:
    """How the queue was ranked in one episode.

    Where one score per dataset row ranks it, other scores may take their place: entry n of
    ``tables`` does so at ``moments[n]``, which is 2 t before step t and 2 t + 1 after it, and -1 at
    the reset. Where a callable ranks it, ``scores`` are what it returned.

    Attributes:
        seed: That the environment was reset with.
        reranked: Per step, whether all that waited were ranked anew after it.
        scores: What the priority callable returned, call by call.
        moments: When scores per dataset row were set.
        tables: These scores.
    """

    seed: int
    reranked: list[bool] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    tables: list[AgedScores] = field(default_factory=list)

    def listen(self, simulator: Simulator) -> None:
        """Notes down the order of a simulator's queue, which is about to be reset."""
        if simulator.score_rows is not None:
            simulator.score_rows = self._noting(simulator.score_rows)
        elif simulator.scorer is not None:
            simulator.set_priority(self._noting(simulator.scorer))
        self.look(simulator, -1)

    def look(self, simulator: Simulator, moment: int) -> None:
        """Notes down the scores per dataset row if they are others than before."""
        table = simulator.row_scores
        if table is not None and not (self.tables and _same(self.tables[-1], table)):
            self.moments.append(moment)
            self.tables.append(AgedScores(table.scores.copy(), table.rate, table.last))

    def _noting(self, scorer: Callable[[Any], Floats]) -> Callable[[Any], Floats]:
        def score(given: NDArray[Any]) -> Floats:
            scores = np.array(scorer(given), np.float64)
            self.scores.append(scores)
            return scores

        return score


def _same(one: AgedScores, other: AgedScores) -> bool:
    arrays = ((one.scores, other.scores), (one.last, other.last))
    return one.rate == other.rate and all(np.array_equal(a, b) for a, b in arrays)


def fixed_table(episodes: Sequence[EpisodeOrder]) -> AgedScores | None:
    """Returns the scores per dataset row that ranked the queue at all times, if some did."""
    tables = [table for episode in episodes for table in episode.tables]
    if len(tables) != len(episodes) or any(episode.scores for episode in episodes):
        return None
    return tables[0] if all(_same(tables[0], table) for table in tables) else None


def write_order(path: Path, episodes: Sequence[EpisodeOrder]) -> None:
    """Writes how the queue was ranked in each episode; complete or not at all.

    Args:
        path: The file, ``*.npz``.
        episodes: The episodes.
    """
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "seeds": _int64(e.seed for e in episodes)}
    fixed = fixed_table(episodes)
    calls = [scores for episode in episodes for scores in episode.scores]
    tables = [table for e in episodes for table in e.tables] if fixed is None else [fixed]
    arrays |= {
        "steps": _int64(len(e.reranked) for e in episodes),
        "reranked": np.array([flag for e in episodes for flag in e.reranked], np.bool_),
        "calls": _int64(len(e.scores) for e in episodes),
        "lengths": _int64(len(scores) for scores in calls),
        "scores": np.concatenate(calls) if calls else np.empty(0),
        "fixed": np.array(fixed is not None),
        "changes": _int64(len(e.moments) for e in episodes),
        "moments": _int64(moment for e in episodes for moment in e.moments),
        "tables": np.array([table.scores for table in tables]),
        "rates": np.array([table.rate for table in tables], np.float64),
        "lasts": np.array([table.last for table in tables], np.bool_),
    }
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _int64(numbers: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(numbers), np.int64)


class RecordedOrder(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Ranks the waiting queue as it was ranked while an agent was recorded.

    `agents.collect` writes the file and puts this wrapper into the specification of the recorded
    environment. An episode that was recorded is known by its seed. In others the queue is in order
    of arrival, with a warning, unless one score per dataset row ranked it: then that holds for all.

    It goes directly around an environment, or around wrappers that change no observation.
    """

    def __init__(self, env: BaseEnv, path: str | os.PathLike[str]) -> None:
        """Wraps an environment.

        Args:
            env: The environment with the settings of the recording.
            path: The file, or its address in a dataset of Minari, ``minari://ID/FILE``.

        Raises:
            FileNotFoundError: If there is no such file.
            TypeError: If ``env`` is another environment.
            UnreadableFileError: If the file holds something else.
        """
        RecordConstructorArgs.__init__(self, path=str(path))
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, EdgeCloudEnv):
            raise TypeError(f"RecordedOrder wraps an EdgeCloud environment, not {shown(base)}")
        self._system = base
        place = recorded_path(str(path)) if is_recorded(path) else Path(path)
        self._fixed, self._episodes = read_order(place)
        self._episode: EpisodeOrder | None = None
        self._tables: dict[int, AgedScores] = {}
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment, with the order that was recorded for this seed."""
        self._episode = self._episodes.get(seed)
        self._step = 0
        self._tables = {}
        if self._episode is not None and self._fixed is None:
            self._tables = dict(zip(self._episode.moments, self._episode.tables, strict=True))
        self._system.set_priority(self._priority(seed))
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment, and ranks the queue anew if that was recorded of this step."""
        self._set_scores(2 * self._step)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._set_scores(2 * self._step + 1)
        flags = () if self._episode is None else self._episode.reranked
        if self._step < len(flags) and flags[self._step] and not (terminated or truncated):
            observation, info = self._system.reprioritize()
        self._step += 1
        return observation, reward, terminated, truncated, info

    def _set_scores(self, moment: int) -> None:
        if moment in self._tables:
            self._system.simulator.set_scores(self._tables[moment])

    def _priority(self, seed: int | None) -> Priority:
        if self._fixed is not None:
            return self._fixed
        if self._episode is not None:
            return self._tables[-1] if self._tables else _Playback(self._episode)
        gym.logger.warn(
            f"seed={shown(seed)} was not recorded: the queue is in order of arrival in this episode"
        )
        return None


class _Playback:
    """A priority callable that returns recorded scores, one call after the other."""

    def __init__(self, episode: EpisodeOrder) -> None:
        self._episode = episode
        self._left = iter(episode.scores)

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = next(self._left, None)
        if scores is None or len(scores) != len(embeddings):
            raise ValueError(
                f"the episode of seed {self._episode.seed} goes another way than it was recorded: "
                "its queue can be ranked again only for the recorded actions (evaluate others in "
                "recover_environment(eval_env=True))"
            )
        return scores


def read_order(path: Path) -> tuple[AgedScores | None, Mapping[int | None, EpisodeOrder]]:
    """Reads what `write_order` wrote.

    Returns:
        The scores per dataset row that ranked the queue at all times, if some did, and the episodes
        by seed.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds something else.
    """
    try:
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: there is no such file; a recording whose folder was moved is read by "
                "agents.load_recording(FOLDER)"
            )
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFileError(f"{path}: no recorded order, or damaged ({error})") from error
    if str(arrays.get("format")) != FORMAT or not arrays.keys() >= _KEYS:
        raise UnreadableFileError(
            f"{path}: no recorded order of the format {FORMAT!r}, but "
            f"{shown(str(arrays.get('format')))}"
        )
    tables = [
        AgedScores(scores, float(rate), last)
        for scores, rate, last in zip(
            arrays["tables"], arrays["rates"], arrays["lasts"], strict=True
        )
    ]
    fixed = tables[0] if arrays["fixed"] else None
    return fixed, {episode.seed: episode for episode in _episodes(arrays, tables)}


def _episodes(
    arrays: Mapping[str, NDArray[Any]], tables: Sequence[AgedScores]
) -> Iterator[EpisodeOrder]:
    calls = np.split(arrays["scores"], np.cumsum(arrays["lengths"])[:-1])
    if arrays["fixed"]:
        tables = [tables[0]] * len(arrays["moments"])
    parts = {
        name: [everything[last - count : last] for last, count in zip(ends, counts, strict=True)]
        for name, everything, counts, ends in (
            (name, everything, arrays[count], np.cumsum(arrays[count]))
            for name, everything, count in (
                ("reranked", arrays["reranked"], "steps"),
                ("scores", calls, "calls"),
                ("moments", arrays["moments"], "changes"),
                ("tables", tables, "changes"),
            )
        )
    }
    for n, seed in enumerate(arrays["seeds"].tolist()):
        yield EpisodeOrder(seed, **{name: list(part[n]) for name, part in parts.items()})
