"""Bayesian linear regression on rotated features, with what leaving one out says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from agents.prediction.features import FeatureMap

Floats = NDArray[np.float64]

RIDGES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_ROUNDS: Final = 50  # of the fit of the spread, which has converged by then


@dataclass(frozen=True, eq=False)
class Regression:
    """A target's mean and spread, given the kernel's values.

    mu(x) = intercept + k_Z(x) . coefficients, and the variance of a new prompt's target is
    exp(a + b mu) (v(x) + ridge), with v the variance of the process in its own unit.

    Attributes:
        intercept: Mean of the targets.
        coefficients: (m,) of the supports.
        ridge: Variance of what the features do not explain, in units of the process.
        scale: (2,) a and b.
        levels: (2,) the range of mu in the fit; beyond it the scale stays as it is there.
    """

    intercept: float
    coefficients: Floats
    ridge: float
    scale: Floats
    levels: Floats

    @classmethod
    def fit(
        cls, phi: Floats, features: FeatureMap, lost: Floats, targets: Floats, ridge: float
    ) -> Self:
        """Fits targets (n,) on features (n, r) that lost so much of the process's variance (n,)."""
        intercept = float(targets.mean())
        errors, hat = left_out(phi, features.strengths, targets, ridge)
        mean = targets - errors
        unscaled = errors**2 / (lost + ridge * hat / (1.0 - hat) + ridge)
        centred = targets - intercept
        weights = phi.T @ centred / (features.strengths + ridge)
        return cls(
            intercept,
            np.asarray(features.projection @ weights),
            ridge,
            _fit_scale(mean, unscaled),
            np.array([mean.min(), mean.max()]),
        )

    def predict(self, values: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """Returns means and standard deviations (n,).

        Args:
            values: The kernel with the supports (n, m).
            spread: The variance of the process, in its own unit (n,).
        """
        mean = self.intercept + values @ self.coefficients
        return mean, np.sqrt(self.amplitude(mean) * (spread + self.ridge))

    def amplitude(self, mean: Floats) -> Floats:
        """Returns the unit of the process's variance where it predicts so much (n,)."""
        a, b = self.scale
        return np.asarray(np.exp(a + b * np.clip(mean, *self.levels)))

    def state(self, name: str) -> dict[str, NDArray[Any]]:
        """Returns it as arrays, but for the ridge."""
        return {
            f"{name}_coefficients": self.coefficients,
            f"{name}_shape": np.array([self.intercept, *self.scale, *self.levels]),
        }

    @classmethod
    def restore(cls, name: str, state: Mapping[str, NDArray[Any]], ridge: float) -> Self:
        """Returns what `state` was of.

        Raises:
            KeyError: If an array is missing.
        """
        intercept, *shape = state[f"{name}_shape"].tolist()
        return cls(
            intercept,
            state[f"{name}_coefficients"],
            ridge,
            np.array(shape[:2]),
            np.array(shape[2:]),
        )


def left_out(
    phi: Floats, strengths: Floats, targets: Floats, ridge: float
) -> tuple[Floats, Floats]:
    """Returns the errors of predicting each of n prompts from all others, and their leverages.

    In closed form, error_i = residual_i / (1 - h_i), with h_i the diagonal of the matrix that
    makes fitted values of targets (e.g. T. Hastie et al., Elements of statistical learning, 7.10).
    The mean, which belongs to all, is not left out.

    Args:
        phi: Features (n, r), with phi^T phi diagonal.
        strengths: That diagonal (r,).
        targets: (n,).
        ridge: Above 0.
    """
    shrunk = 1.0 / (strengths + ridge)
    centred = targets - targets.mean()
    residuals = centred - phi @ (shrunk * (phi.T @ centred))
    hat = phi**2 @ shrunk
    return residuals / (1.0 - hat), hat


def choose_ridge(phi: Floats, strengths: Floats, targets: Floats) -> float:
    """Returns the one of `RIDGES` that predicts prompts left out with the least squared error."""
    errors = [np.mean(left_out(phi, strengths, targets, ridge)[0] ** 2) for ridge in RIDGES]
    return RIDGES[int(np.argmin(errors))]


def _fit_scale(mean: Floats, squares: Floats) -> Floats:
    """Returns a and b (2,) that make exp(a + b mean) the variance whose squares were drawn.

    By maximum likelihood, by Fisher's scoring: a generalised linear model with a log link
    (M. Aitkin, Modelling variance heterogeneity in normal regression, Applied Statistics 1987).
    """
    design = np.column_stack([np.ones_like(mean), mean])
    scale = np.array([np.log(max(squares.mean(), np.finfo(float).tiny)), 0.0])
    if np.ptp(mean) == 0.0:
        return scale
    solve = np.linalg.pinv(design)
    for _ in range(_ROUNDS):
        ratio = squares / np.exp(design @ scale)
        # Far from the solution a full step may overshoot.
        step = solve @ (ratio - 1.0)
        scale = scale + step / max(1.0, float(np.abs(step).max()))
    return scale
