"""What each array of a dataset must be: one check each, which returns a read-only copy."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from edgecloud_gym.checks import has_half_character, real_numbers
from edgecloud_gym.times import in_seconds

MOST_TOKENS: Final = int(np.iinfo(np.int32).max)
# From here on a median time looks like milliseconds: s per request, s per token.
LONG_REQUEST: Final = 100.0
LONG_TOKEN: Final = 5.0

Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Forbids writing to `array` and returns it."""
    array.setflags(write=False)
    return array


def check_base_latency(values: ArrayLike) -> NDArray[np.float64]:
    """Returns (n,) float64 with n >= 1; finite and above 0 s. Durations count by their unit."""
    seconds = in_seconds("base_latency", values, entry="row")
    latency: NDArray[np.float64] = _array("base_latency", seconds, np.float64, ndim=1)
    if len(latency) == 0:
        raise ValueError("base_latency must hold at least one request, got none")
    _require("base_latency", latency, np.isfinite(latency) & (latency > 0), "finite and above 0 s")
    return latency


def remark_on_unit(
    name: str, latency: NDArray[np.float64], response_tokens: NDArray[np.int32] | None
) -> None:
    """Warns if times look like milliseconds: seconds per token, or minutes per request."""
    typical = float(np.median(latency))
    said = f"the median inference time is {typical:,.4g} s"
    suspicious = typical > LONG_REQUEST
    if response_tokens is not None:
        per_token = float(np.median(latency / np.maximum(response_tokens, 1)))
        said += f", {per_token:,.3g} s per token"
        suspicious = per_token > LONG_TOKEN or (suspicious and per_token > LONG_TOKEN / 5)
    if suspicious:
        warnings.warn(
            f"{name}: {said}: are these milliseconds? They are taken as seconds",
            UserWarning,
            stacklevel=4,  # the caller of load_dataset or from_arrays
        )


def check_embeddings(values: ArrayLike | None, n: int) -> NDArray[np.float32] | None:
    """Returns (n, d) float32 with d >= 1; finite."""
    if values is None:
        return None
    embeddings: NDArray[np.float32] = _array("embeddings", values, np.float32, ndim=2, length=n)
    if embeddings.shape[1] == 0:
        raise ValueError(f"embeddings must have at least one column, got shape {embeddings.shape}")
    _require("embeddings", embeddings, np.isfinite(embeddings).all(axis=1), "finite")
    return embeddings


def check_texts(name: str, values: Sequence[str] | None, n: int) -> tuple[str, ...] | None:
    """Returns n strings."""
    if values is None:
        return None
    one_row = isinstance(values, Iterable) and getattr(values, "ndim", 1) == 1
    if not one_row or isinstance(values, str | bytes | Mapping):
        raise ValueError(f"{name} must be a sequence of strings, got {type(values).__name__}")
    texts = tuple(values)
    entries: tuple[object, ...] = texts
    for row, text in enumerate(entries):
        if not isinstance(text, str):
            found = "masked" if text is np.ma.masked else f"{type(text).__name__} {text!r:.60}"
            raise ValueError(f"{name} must be a sequence of strings; row {row} is {found}")
        if has_half_character(text):
            raise ValueError(f"{name}: row {row} holds half a character (a lone surrogate)")
    _require_length(name, len(texts), n)
    return texts


def check_counts(
    name: str, values: ArrayLike | None, n: int, least: int = 0
) -> NDArray[np.int32] | None:
    """Returns (n,) int32; whole numbers from ``least``."""
    if values is None:
        return None
    exact: NDArray[np.float64] = _array(name, values, np.float64, ndim=1, length=n)
    fits = (exact >= least) & (exact <= MOST_TOKENS) & (exact == np.floor(exact))
    _require(name, exact, fits, f"a whole number of tokens from {least} to {MOST_TOKENS}")
    return read_only(exact.astype(np.int32))


def check_found_tokens(values: ArrayLike | None, n: int) -> NDArray[np.int32] | None:
    """Returns (n,) int32; whole numbers from 0, -1 where it is not known, which NaN says as well.

    None where none is known.
    """
    if values is None:
        return None
    name = "cached_tokens"
    stated: NDArray[np.float64] = _array(name, values, np.float64, ndim=1, length=n)
    found = check_counts(name, np.where(np.isnan(stated), -1.0, stated), n, least=-1)
    return None if found is None or (found < 0).all() else found


def check_first_tokens(
    values: ArrayLike | None, base_latency: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Returns (n,) float64, above 0 s and at most the base latency, NaN where it is not known.

    None where none is known.
    """
    if values is None:
        return None
    name = "time_to_first_token"
    seconds = in_seconds(name, values, entry="row")
    times: NDArray[np.float64] = _array(name, seconds, np.float64, ndim=1, length=len(base_latency))
    fits = np.isnan(times) | ((times > 0) & (times <= base_latency))
    _require(name, times, fits, "above 0 s and at most base_latency, or NaN")
    return None if np.isnan(times).all() else times


def check_slowdown(values: ArrayLike | None) -> NDArray[np.float64] | None:
    """Returns (L,) float64 with L >= 1; finite and above 0; the first entry is 1."""
    if values is None:
        return None
    curve: NDArray[np.float64] = _array("slowdown", values, np.float64, ndim=1)
    _require("slowdown", curve, np.isfinite(curve) & (curve > 0), "finite and above 0")
    if len(curve) == 0 or curve[0] != 1.0:
        raise ValueError(f"slowdown must start with s(1) = 1, got {curve[:3].tolist()}")
    return curve


def _array(
    name: str, values: ArrayLike, dtype: DTypeLike, *, ndim: int, length: int | None = None
) -> NDArray[Any]:
    try:
        array = real_numbers(values, dtype, entry="row")
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if length is not None:
        _require_length(name, len(array), length)
    return read_only(array)


def _require_length(name: str, length: int, n: int) -> None:
    if length != n:
        raise ValueError(f"{name} must have one row per request: {n}, got {length}")


def _require(name: str, array: NDArray[Any], good: ArrayLike, allowed: str) -> None:
    if not np.all(good):
        row = int(np.argmin(good))
        raise ValueError(f"{name} must be {allowed}; row {row} is {array[row]}")
