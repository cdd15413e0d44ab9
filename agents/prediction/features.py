"""Features of a prompt in which a Gaussian process is a linear model.

The kernel compares two prompts by what they say and by how long they are:

    k(x, x') = exp(-a |e - e'|^2 - b (t - t')^2)

with e the embedding, scaled to length 1, and t the standardised log(1 + prompt tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SMALLEST: Final = 1e-9  # eigenvalue that counts, as a share of the largest


def unit(embeddings: ArrayLike) -> Floats:
    """Scales embeddings (n, D) to length 1; those of length 0 stay as they are."""
    vectors = np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0.0, lengths, 1.0))


@dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel above against a set of supports.

    Attributes:
        embeddings: (m, D) supports, of length 1.
        lengths: (m,) their standardised log token counts.
        embedding_scale: a.
        token_scale: b; 0 leaves the prompt's length out.
    """

    embeddings: Floats
    lengths: Floats
    embedding_scale: float
    token_scale: float

    @cached_property
    def _squares(self) -> Floats:
        """Squared lengths of the supports (m,): 1, but for their rounding."""
        return np.asarray(np.sum(self.embeddings**2, axis=1))

    def __call__(self, embeddings: Floats, lengths: Floats) -> Floats:
        """Returns k of n prompts, embeddings (n, D) of length 1, with the m supports (n, m)."""
        apart = (
            np.sum(embeddings**2, axis=1)[:, None]
            + self._squares
            - 2.0 * embeddings @ self.embeddings.T
        )
        longer = lengths[:, None] - self.lengths
        exponent = self.embedding_scale * np.maximum(apart, 0.0) + self.token_scale * longer**2
        return np.asarray(np.exp(-exponent))


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Nystrom features: phi(x) . phi(x') is k(x, x') where the supports span both.

    C. Williams & M. Seeger, Using the Nystrom method to speed up kernel machines, NIPS 2000;
    exact for prompts that are supports. They are rotated so that, over the prompts of the fit,
    sum phi phi^T is diagonal: the weights of a linear model are independent, given these.

    Attributes:
        kernel: The kernel, with its supports.
        gram: (m, m) sum of k_Z(x) k_Z(x)^T over the prompts x of the fit; None if these are the
            supports.
    """

    kernel: Kernel
    gram: Floats | None = None

    @cached_property
    def _axes(self) -> tuple[Floats, Floats]:
        """Projection (m, r) and the diagonal (r,) of sum phi phi^T, falling."""
        own = self.kernel(self.kernel.embeddings, self.kernel.lengths)
        values, axes = np.linalg.eigh(own)
        kept = values > _SMALLEST * values[-1]
        whitening = axes[:, kept] / np.sqrt(values[kept])
        if self.gram is None:
            return np.asarray(whitening[:, ::-1]), np.asarray(values[kept][::-1])
        strengths, rotation = np.linalg.eigh(whitening.T @ self.gram @ whitening)
        return (whitening @ rotation)[:, ::-1], np.maximum(strengths[::-1], 0.0)

    @cached_property
    def _laid_out(self) -> Floats:
        """The projection row by row, as a lone prompt is multiplied in an eighth of the time."""
        return np.ascontiguousarray(self.projection)

    def __call__(self, values: Floats) -> Floats:
        """Returns phi (n, r) of prompts, given their kernel with the supports (n, m)."""
        return np.asarray(values @ self._laid_out)

    @property
    def projection(self) -> Floats:
        """(m, r): phi(x) = k_Z(x) @ projection."""
        return self._axes[0]

    @property
    def strengths(self) -> Floats:
        """(r,) the diagonal of sum phi phi^T over the prompts of the fit, falling."""
        return self._axes[1]
