"""What is believed of prompts while they are being served: the predictor, brought up to date.

Of what the predictor says of a prompt's log time, the true value is off by its amplitude times

    phi . d + u,    d_j ~ N(0, ridge / (strength_j + ridge)),    u ~ N(0, own):

d is what is not known of the features' weights, and shared by prompts that resemble each other; u
belongs to the single prompt. Each time that the prompt is served its log time is seen with the
noise of the machine. All of it is normal, so that the posterior is exact. Given d the prompts are
independent, and of a prompt served n times d sees the mean, as one observation of variance
own + noise^2 / n: a completion costs O(r^2), however many there have been.

Prompts that the predictor was fitted on have told d what they can: their times are remembered, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from agents.prediction.features import unit
from agents.prediction.predictor import Predictor
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wording import shown

Floats = NDArray[np.float64]

PREDICTOR: Final = "predictor_digest"  # an array of a state, which older files lack
REMEMBERED: Final = 100_000  # prompts of a changing table, of which there is no end
_REFRESH: Final = 1000  # updates between inversions from scratch, against rounding


class Belief:
    """The posterior of the log times of prompts, after those that have been served.

    Args:
        predictor: The prior.
        features: How many of its features to use, the strongest; what the others explain counts as
            the prompt's own.
        noise: Standard deviation of the log time between two runs of the same prompt.

    Attributes:
        predictor: The prior.
        prior: What it predicts of the rows that are looked at.
    """

    STATE: ClassVar = (
        "precision",
        "covariance",
        "information",
        "updates",
        "keys",
        "served",
        "mean_log",
    )

    def __init__(self, predictor: Predictor, features: int, noise: float) -> None:
        self.predictor = predictor
        self._noise = noise
        strengths = predictor.features.strengths[:features]
        self._precision: Floats = np.diag((strengths + predictor.ridge) / predictor.ridge)
        self._covariance: Floats = np.diag(predictor.ridge / (strengths + predictor.ridge))
        self._information: Floats = np.zeros(len(strengths))  # precision times the mean of d
        self._updates = 0
        self._fitted = _support_keys(predictor)
        self._memory: dict[int, tuple[float, float]] = {}  # by key: times served, mean log time
        self._changing = False

    def look_at(self, dataset: RequestDataset, rows: NDArray[np.int32]) -> None:
        """Speaks of these rows (n,) of a dataset from now on; what was learnt before is kept.

        Raises:
            ValueError: If the dataset has no embeddings, or of another width.
        """
        self.prior = self.predictor.predict_dataset(dataset, rows)
        embeddings, tokens = _prompts(dataset, rows)
        keys, first, self._places = np.unique(
            prompt_keys(embeddings, tokens), return_index=True, return_inverse=True
        )
        self._make_places(len(keys))
        self._enter(
            np.arange(len(keys)),
            keys,
            embeddings[first],
            None if tokens is None else tokens[first],
            self.prior.log_time_mean[first],
            self._fitted,
        )

    def look_at_changing(self, dataset: RequestDataset) -> None:
        """Speaks of all rows of a table whose rows stand for one request after the other.

        There the lengths of prompts are estimates, which differ from one time to the next: prompts
        are told apart by their embeddings alone, and the first of `REMEMBERED` are forgotten.

        Raises:
            ValueError: If the table has no embeddings, or of another width.
        """
        self._changing = True
        self._places = np.arange(len(dataset))
        self._make_places(len(dataset))
        kernel = self.predictor.features.kernel
        self._fitted_texts = prompt_keys(kernel.embeddings, None)
        self.prior = self.predictor.predict_dataset(dataset)
        self.change(dataset, self._places, self.prior.log_time_mean)

    def change(self, dataset: RequestDataset, rows: NDArray[np.int64], prior: Floats) -> None:
        """Takes note that rows of such a table stand for other requests from now on.

        Args:
            dataset: The table.
            rows: Which rows (n,).
            prior: The predictor's mean log times of them (n,).
        """
        embeddings, tokens = _prompts(dataset, rows)
        keys = prompt_keys(embeddings, None)
        self._enter(rows, keys, embeddings, tokens, prior, self._fitted_texts)

    def _make_places(self, count: int) -> None:
        """Makes room for so many prompts."""
        self._keys = np.zeros(count, np.uint64)
        self._tells = np.zeros(count, np.bool_)
        self._phi = np.zeros((count, len(self._information)))
        self._own, self._prior, self._scale, self._blur, self._served, self._mean_log = np.zeros(
            (6, count)
        )

    def _enter(
        self,
        places: NDArray[np.int64],
        keys: NDArray[np.uint64],
        embeddings: NDArray[np.floating[Any]],
        tokens: NDArray[Any] | None,
        prior: Floats,
        fitted: NDArray[np.uint64],
    ) -> None:
        """Writes what is known of prompts in their places."""
        values = self.predictor.kernel_values(embeddings, tokens)
        phi = values @ self.predictor.features.projection[:, : len(self._information)]
        self._keys[places] = keys
        self._tells[places] = ~np.isin(keys, fitted)
        self._phi[places] = phi
        self._own[places] = self.predictor.ridge + np.maximum(1.0 - np.sum(phi**2, axis=1), 0.0)
        self._prior[places] = prior
        scale = np.sqrt(self.predictor.time.amplitude(prior))
        self._scale[places] = scale
        self._blur[places] = (self._noise / scale) ** 2  # the noise, in the unit of the process
        known = [self._memory.get(key, (0.0, 0.0)) for key in keys.tolist()]
        self._served[places], self._mean_log[places] = np.array(known).reshape(-1, 2).T

    def observe(self, index: int, log_time: float) -> None:
        """Learns that the prompt of ``rows[index]`` took so long, exp(log_time) s."""
        place = self._places[index]
        weight, told = self._told(place)
        served = self._served[place] + 1.0
        mean = self._mean_log[place] + (log_time - self._mean_log[place]) / served
        same = self._keys == self._keys[place]  # of a changing table more than one row may be it
        self._served[same], self._mean_log[same] = served, mean
        self._memory[int(self._keys[place])] = float(served), float(mean)
        if self._changing and len(self._memory) > REMEMBERED:
            del self._memory[next(iter(self._memory))]  # who came first
        more, tells = self._told(place)
        phi, added = self._phi[place], more - weight
        self._information += phi * (tells - told)
        self._precision += np.outer(added * phi, phi)
        # Sherman and Morrison's formula.
        gain = self._covariance @ phi
        self._covariance -= np.outer(gain, gain * (added / (1.0 + added * (phi @ gain))))
        self._updates += 1
        if self._updates % _REFRESH == 0:
            self._covariance[...] = np.linalg.inv(self._precision)

    def _told(self, place: int) -> tuple[float, float]:
        """Returns how precisely d sees a prompt, and that times what it sees."""
        served = self._served[place]
        if served == 0.0 or not self._tells[place]:
            return 0.0, 0.0
        weight = 1.0 / (self._own[place] + self._blur[place] / served)
        return weight, weight * (self._mean_log[place] - self._prior[place]) / self._scale[place]

    def log_times(self) -> Floats:
        """Returns the expected log times of the rows (n,)."""
        shared = self._phi @ (self._covariance @ self._information)
        seen = (self._mean_log - self._prior) / self._scale
        off = shared + self._trust * (seen - shared)
        return np.asarray((self._prior + self._scale * off)[self._places])

    def deviations(self) -> Floats:
        """Returns the standard deviations of the rows' log times, without the noise (n,)."""
        lacking = 1.0 - self._trust
        shared = np.einsum("ij,ij->i", self._phi @ self._covariance, self._phi)
        variance = lacking**2 * np.maximum(shared, 0.0) + lacking * self._own
        return np.asarray((self._scale * np.sqrt(variance))[self._places])

    @property
    def _trust(self) -> Floats:
        """How much of what is a prompt's own its times tell, 0 to 1."""
        told = self._served * self._own
        unserved = np.zeros_like(told)
        return np.asarray(np.divide(told, told + self._blur, out=unserved, where=told > 0.0))

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns what was learnt, as arrays."""
        served = np.array(list(self._memory.values())).reshape(-1, 2)
        return {
            "precision": self._precision,
            "covariance": self._covariance,
            "information": self._information,
            "updates": np.array(self._updates),
            "keys": np.array(list(self._memory), np.uint64),
            "served": served[:, 0],
            "mean_log": served[:, 1],
            PREDICTOR: self._identity(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `state` returned; call `look_at` afterwards.

        Raises:
            KeyError: If an array is missing.
            ValueError: If it was learnt with another predictor; files of before that was kept are
                refused only if an array has the wrong shape.
        """
        known = state.get(PREDICTOR)
        if known is None:
            other = state["information"].shape != self._information.shape
        else:
            other = not np.array_equal(known, self._identity())
        if other:
            raise ValueError(
                "what was learnt goes with another predictor than "
                f"{shown(self.predictor)}: give the one that it was trained with as predictor"
            )
        self._precision[...] = state["precision"]
        self._covariance[...] = state["covariance"]
        self._information[...] = state["information"]
        self._updates = int(state["updates"])
        facts = zip(state["served"].tolist(), state["mean_log"].tolist(), strict=True)
        self._memory = dict(zip(state["keys"].tolist(), facts, strict=True))

    def _identity(self) -> NDArray[np.uint8]:
        """Returns what tells apart the features that weights are of: the predictor's prompts."""
        facts = self._fitted.tobytes() + bytes(f"{len(self._information)}", "ascii")
        return np.frombuffer(blake2b(facts, digest_size=8).digest(), np.uint8)


def _prompts(
    dataset: RequestDataset, rows: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.int32] | None]:
    """Returns embeddings (n, D) and, where they are known, token counts (n,) of rows (n,)."""
    assert dataset.embeddings is not None
    counts = dataset.prompt_tokens
    return dataset.embeddings[rows], None if counts is None else counts[rows]


def _support_keys(predictor: Predictor) -> NDArray[np.uint64]:
    """Returns the keys of the prompts that a predictor has kept of its fit (m,)."""
    kernel = predictor.features.kernel
    logs = kernel.lengths * predictor.length_std + predictor.length_mean
    return prompt_keys(kernel.embeddings, np.rint(np.expm1(logs)))


def prompt_keys(
    embeddings: NDArray[np.floating[Any]], tokens: NDArray[Any] | None
) -> NDArray[np.uint64]:
    """Returns what tells prompts apart, whichever dataset and row they are in (n,)."""
    counts = np.zeros(len(embeddings), np.int64) if tokens is None else tokens.astype(np.int64)
    vectors = unit(embeddings).astype(np.float16)
    parts = (
        blake2b(vector.tobytes() + count.tobytes(), digest_size=8).digest()
        for vector, count in zip(vectors, counts, strict=True)
    )
    return np.frombuffer(b"".join(parts), np.uint64)
