"""The predictor: a Gaussian process on log times, as kernel ridge regression with its spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.checkpoint import read_header, read_state, write_checkpoint
from agents.prediction.distribution import Prediction
from agents.prediction.features import FeatureMap, Kernel, unit
from agents.prediction.regression import Regression, choose_ridge
from agents.threads import one_thread
from edgecloud_gym.checks import check_integer, check_number, refuse_entries
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wording import shown

Floats = NDArray[np.float64]

_KIND: Final = "predictor"  # what its files say they hold
SUPPORTS: Final = 1024
LEAST_RIDGE: Final = 1e-12  # as of bandits: what is smaller cannot be divided by


@dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """Predicts how long requests take alone, and how long their answers are, from their prompts.

    log T and the log of the answer's tokens are linear in the features of `FeatureMap`, with
    normal weights: a Gaussian process with the kernel there. What is left, spread that belongs to
    the single prompt and noise of its measurement, has the variance ridge, in the unit of the
    process; both are scaled by exp(a + b mu), as long requests scatter more.

    Attributes:
        features: The features, with the supports.
        length_mean: Mean of log(1 + prompt tokens) over the prompts of the fit.
        length_std: Their standard deviation.
        time: Regression of log T (T in s).
        tokens: Regression of the log of the answer's tokens, or None where these are not known.
        rows: How many prompts it was fitted on.
        training: How it came about, JSON values.
    """

    features: FeatureMap
    length_mean: float
    length_std: float
    time: Regression
    tokens: Regression | None
    rows: int
    training: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @one_thread()
    def fit(
        cls,
        dataset: RequestDataset,
        rows: ArrayLike | None = None,
        *,
        embedding_scale: float = 0.6,
        token_scale: float = 0.3,
        ridge: float | None = None,
        supports: int = SUPPORTS,
        seed: int = 0,
    ) -> Self:
        """Fits a predictor.

        Args:
            dataset: Requests with embeddings.
            rows: Its rows to learn from; the train split by default.
            embedding_scale: a of the kernel.
            token_scale: b of the kernel, unused where prompts have no token counts.
            ridge: Variance of what the features do not explain, in units of the process, at least
                1e-12; by default the one of `RIDGES` that predicts prompts left out best.
            supports: Prompts that the kernel compares with, at most; drawn at random from the rows.
            seed: Random seed.

        Raises:
            ValueError: If the dataset has no embeddings, there are fewer than 10 rows, or a
                setting is out of range.
        """
        if dataset.embeddings is None:
            raise ValueError(
                f"{shown(dataset)} has no embeddings to predict from; make them with `edgecloud "
                "embed`"
            )
        chosen = dataset.rows("train") if rows is None else np.asarray(rows, np.int64)
        if len(chosen) < 10:
            raise ValueError(f"a predictor learns from at least 10 prompts, got {len(chosen)}")
        check_number("embedding_scale", embedding_scale, above=0)
        check_number("token_scale", token_scale, least=0)
        check_integer("supports", supports, least=1)
        given = dataset.prompt_tokens
        counts = np.zeros(len(chosen)) if given is None else np.log1p(given[chosen].astype(float))
        mean, std = float(counts.mean()), float(counts.std()) or 1.0
        # As they are kept in a file, so that nothing is lost by saving.
        vectors = unit(dataset.embeddings[chosen]).astype(np.float16).astype(np.float64)
        lengths = ((counts - mean) / std).astype(np.float32).astype(np.float64)
        held = np.arange(len(chosen))
        if len(chosen) > supports:
            held = np.sort(np.random.default_rng(seed).choice(len(chosen), supports, replace=False))
        weight = 0.0 if given is None else float(token_scale)
        kernel = Kernel(vectors[held], lengths[held], float(embedding_scale), weight)
        values = kernel(vectors, lengths)
        features = FeatureMap(kernel, None if len(held) == len(chosen) else values.T @ values)
        phi = values @ features.projection
        lost = np.maximum(1.0 - np.sum(phi**2, axis=1), 0.0)
        logs = np.log(dataset.base_latency[chosen])
        used = choose_ridge(phi, features.strengths, logs) if ridge is None else ridge
        check_number("ridge", used, least=LEAST_RIDGE)
        answers = dataset.response_tokens
        fitted = [
            None if target is None else Regression.fit(phi, features, lost, target, float(used))
            for target in (logs, None if answers is None else _log_counts(answers[chosen]))
        ]
        assert fitted[0] is not None
        return cls(features, mean, std, fitted[0], fitted[1], len(chosen))

    def __repr__(self) -> str:
        return f"Predictor({self.rows} prompts, embeddings of width {self.width})"

    @property
    def width(self) -> int:
        """The width of the embeddings that it takes."""
        return int(self.features.kernel.embeddings.shape[1])

    @property
    def ridge(self) -> float:
        """Variance of what the features do not explain, in units of the process."""
        return self.time.ridge

    @one_thread()
    def predict(self, embeddings: ArrayLike, prompt_tokens: ArrayLike | None = None) -> Prediction:
        """Predicts the times and answers of n requests.

        Args:
            embeddings: (n, D) of a dataset (`RequestDataset.embeddings`, not the table that
                observations show); they are scaled to length 1.
            prompt_tokens: (n,), 0 or more; None counts as prompts of average length.

        Raises:
            TypeError: If an argument holds anything but numbers.
            ValueError: If the embeddings have another width or number than they should, or a number
                is not finite, or a count below 0; the first is named.
        """
        values = self.kernel_values(embeddings, prompt_tokens)
        spread = self.spread(self.features(values))
        mean, std = self.time.predict(values, spread)
        tokens = np.full(len(values), np.nan)
        if self.tokens is not None:
            log_tokens, log_std = self.tokens.predict(values, spread)
            tokens = np.exp(log_tokens + log_std**2 / 2.0)
        return Prediction(mean, std, tokens)

    def predict_dataset(self, dataset: RequestDataset, rows: ArrayLike | None = None) -> Prediction:
        """Predicts the requests of a dataset, or of some of its rows.

        Raises:
            ValueError: If it has no embeddings, or of another width.
        """
        self.require_fits(dataset)
        assert dataset.embeddings is not None
        chosen = slice(None) if rows is None else np.asarray(rows, np.int64)
        counts = dataset.prompt_tokens
        return self.predict(dataset.embeddings[chosen], None if counts is None else counts[chosen])

    def require_fits(self, dataset: RequestDataset) -> None:
        """Raises ``ValueError`` if a dataset has no embeddings of the width that it takes."""
        if dataset.embeddings is None:
            raise ValueError(
                f"{shown(dataset)} has no embeddings to predict from; make them with `edgecloud "
                "embed`"
            )
        width = dataset.embeddings.shape[1]
        if width != self.width:
            raise ValueError(
                f"the predictor takes embeddings of width {self.width}, and {shown(dataset)} has "
                f"them of width {width}: fit one to it with `edgecloud train predictor`, and give "
                "its file as predictor"
            )

    def kernel_values(self, embeddings: ArrayLike, prompt_tokens: ArrayLike | None) -> Floats:
        """Returns the kernel of n requests with the m supports (n, m); arguments of `predict`."""
        vectors = np.asarray(embeddings)
        if vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ValueError(
                f"embeddings: must have the shape (n, {self.width}), got {vectors.shape}: "
                "the predictor was fitted on others"
            )
        _check_finite("embeddings", vectors)
        lengths = np.zeros(len(vectors))
        if prompt_tokens is not None:
            counts = np.asarray(prompt_tokens)
            if counts.shape != lengths.shape:
                raise ValueError(
                    f"prompt_tokens: must have the shape {lengths.shape}, got {counts.shape}"
                )
            counts = _check_finite("prompt_tokens", counts, least=0.0)
            lengths = (np.log1p(counts) - self.length_mean) / self.length_std
        return self.features.kernel(unit(vectors), lengths)

    def spread(self, phi: Floats) -> Floats:
        """Returns the variance of the process itself at features (n, r), in its own unit (n,)."""
        lost = np.maximum(1.0 - np.sum(phi**2, axis=1), 0.0)
        shrunk = self.ridge / (self.features.strengths + self.ridge)
        return np.asarray(lost + phi**2 @ shrunk)

    def save(self, path: str | Path, training: Mapping[str, Any] | None = None) -> None:
        """Writes it to an ``.npz`` file, complete or not at all.

        Args:
            path: The file.
            training: How it came about, JSON values.
        """
        kernel = self.features.kernel
        settings = {
            "embedding_scale": kernel.embedding_scale,
            "token_scale": kernel.token_scale,
            "ridge": self.ridge,
            "length_mean": self.length_mean,
            "length_std": self.length_std,
            "rows": self.rows,
        }
        state: dict[str, NDArray[Any]] = {
            "embeddings": kernel.embeddings.astype(np.float16),
            "lengths": kernel.lengths.astype(np.float32),
            **self.time.state("time"),
        }
        if self.tokens is not None:
            state |= self.tokens.state("tokens")
        if self.features.gram is not None:
            state["gram"] = self.features.gram
        write_checkpoint(Path(path), _KIND, settings, state, training or self.training)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no predictor, or is damaged.
        """
        path = Path(path)
        header = read_header(path)
        if header["agent"] != _KIND:
            raise ValueError(f"{path}: holds {shown(header['agent'])}, not a predictor")
        known, state = header["settings"], read_state(path)
        try:
            kernel = Kernel(
                state["embeddings"].astype(np.float64),
                state["lengths"].astype(np.float64),
                known["embedding_scale"],
                known["token_scale"],
            )
            return cls(
                FeatureMap(kernel, state.get("gram")),
                known["length_mean"],
                known["length_std"],
                Regression.restore("time", state, known["ridge"]),
                Regression.restore("tokens", state, known["ridge"])
                if "tokens_coefficients" in state
                else None,
                known["rows"],
                header["training"] or {},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: damaged predictor: {error}") from error


def _check_finite(name: str, values: NDArray[Any], least: float | None = None) -> Floats:
    """Returns numbers as float64 after checking them.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If one is not finite, or too small; the first is named.
    """
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name}: must hold numbers, got {values.dtype}")
    wrong = ~np.isfinite(values)
    allowed = "must be finite"
    if least is not None:
        wrong |= values < least
        allowed = f"must be finite and at least {least:g}"
    refuse_entries(name, values, wrong, allowed)
    return values.astype(np.float64)


def _log_counts(counts: NDArray[np.int32]) -> Floats:
    """Returns the logs of token counts; an empty answer counts as one token."""
    return np.asarray(np.log(np.maximum(counts, 1).astype(np.float64)))
