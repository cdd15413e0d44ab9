"""The order of a waiting queue as it was when an agent ranked it, written down and played back.

An agent may rank the queue by what it has learnt so far. What it then saw depends on scores that no
setting of the environment holds: they are kept beside the recording, and this wrapper ranks by
them again, at the same moments. Stepped with the recorded actions, the environment is the same bit
for bit.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, SupportsFloat, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from edgecloud_gym.config import Priority
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.files import UnreadableFileError, replacing

FORMAT: Final = "edgecloud-queue/1"
_KEYS: Final = ("format", "seeds", "steps", "reranked", "calls", "lengths", "scores")

BaseEnv: TypeAlias = gym.Env[Any, Any]
Scorer: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass
class EpisodeOrder:
    """How the queue was ranked in one episode.

    Attributes:
        seed: That the environment was reset with.
        reranked: Per step, whether all that waited were ranked anew after it.
        scores: What the priority callable returned, call by call.
    """

    seed: int
    reranked: list[bool] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)

    def listening(self, scorer: Scorer) -> Scorer:
        """Returns a priority callable that notes down what another returns."""

        def score(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
            scores = np.array(scorer(embeddings), np.float64)
            self.scores.append(scores)
            return scores

        return score


def write_order(
    path: Path, table: NDArray[np.float64] | None, episodes: list[EpisodeOrder]
) -> None:
    """Writes how the queue was ranked; complete or not at all.

    Args:
        path: The file, ``*.npz``.
        table: One score per dataset row, where these ranked the queue in all episodes.
        episodes: What a priority callable returned in each, otherwise.
    """
    calls = [scores for episode in episodes for scores in episode.scores]
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "seeds": np.array([episode.seed for episode in episodes], np.int64),
        "steps": np.array([len(episode.reranked) for episode in episodes], np.int64),
        "reranked": np.array([flag for e in episodes for flag in e.reranked], np.bool_),
        "calls": np.array([len(episode.scores) for episode in episodes], np.int64),
        "lengths": np.array([len(scores) for scores in calls], np.int64),
        "scores": np.concatenate(calls) if calls else np.empty(0),
    }
    if table is not None:
        arrays["table"] = table
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


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
            path: The file.

        Raises:
            FileNotFoundError: If there is no such file.
            TypeError: If ``env`` is another environment.
            UnreadableFileError: If the file holds something else.
        """
        RecordConstructorArgs.__init__(self, path=str(path))
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, EdgeCloudEnv):
            raise TypeError(f"RecordedOrder wraps an EdgeCloud environment, not {base!r}")
        self._system = base
        self._table, self._episodes = read_order(Path(path))
        self._flags: Iterator[bool] = iter(())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets the environment, with the order that was recorded for this seed."""
        self._system.set_priority(self._priority(seed))
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment, and ranks the queue anew if that was recorded of this step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if next(self._flags, False) and not (terminated or truncated):
            observation, info = self._system.reprioritize()
        return observation, reward, terminated, truncated, info

    def _priority(self, seed: int | None) -> Priority:
        episode = self._episodes.get(seed)
        self._flags = iter(episode.reranked if episode is not None else ())
        if self._table is not None:
            return self._table
        if episode is not None:
            return _Playback(episode)
        gym.logger.warn(
            f"seed={seed!r} was not recorded: the queue is in order of arrival in this episode"
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


def read_order(
    path: Path,
) -> tuple[NDArray[np.float64] | None, Mapping[int | None, EpisodeOrder]]:
    """Reads what `write_order` wrote.

    Returns:
        One score per dataset row, if these ranked the queue, and the episodes by seed.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFileError(f"{path}: no recorded order, or damaged ({error})") from error
    if str(arrays.get("format")) != FORMAT or not arrays.keys() >= {*_KEYS}:
        raise UnreadableFileError(
            f"{path}: no recorded order of the format {FORMAT!r}, but {str(arrays.get('format'))!r}"
        )
    return arrays.get("table"), {episode.seed: episode for episode in _episodes(arrays)}


def _episodes(arrays: Mapping[str, NDArray[Any]]) -> Iterator[EpisodeOrder]:
    calls = np.split(arrays["scores"], np.cumsum(arrays["lengths"])[:-1])
    of_steps = np.split(arrays["reranked"], np.cumsum(arrays["steps"])[:-1])
    last = np.cumsum(arrays["calls"])
    for n, seed in enumerate(arrays["seeds"].tolist()):
        scores = calls[last[n] - arrays["calls"][n] : last[n]]
        yield EpisodeOrder(seed, of_steps[n].tolist(), list(scores))
