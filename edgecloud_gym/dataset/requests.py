"""The requests of an experiment: prompts, their embeddings and their measured inference times."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.checks import check_choice, check_integer
from edgecloud_gym.dataset.checks import (
    check_base_latency,
    check_counts,
    check_embeddings,
    check_first_tokens,
    check_found_tokens,
    check_slowdown,
    check_texts,
    read_only,
    remark_on_unit,
)
from edgecloud_gym.dataset.files import (
    BundledName,
    Source,
    bundled_datasets,
    dataset_machines,
    is_of_package,
    locate,
    read_embeddings,
)
from edgecloud_gym.dataset.recorded import is_recorded
from edgecloud_gym.dataset.rows import OnError, read_columns
from edgecloud_gym.dataset.slowdown import SlowdownFile
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.wording import shown

__all__ = [
    "RequestDataset",
    "bundled_datasets",
    "dataset_machines",
    "load_dataset",
    "prompts_digest",
]

SPLITS = ("all", "train", "test", "fit", "validation")
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.16  # a fifth of the train side
EMBEDDING_BOUND = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class RequestDataset:
    """Measured requests, one per row. Immutable: its arrays are read-only copies.

    Attributes:
        base_latency: (n,) float64, s. Inference time of the request alone on the edge; finite,
            above 0.
        embeddings: (n, d) float32, the prompt embeddings, or None.
        prompts: The n prompts, or None.
        prompt_tokens: (n,) int32, or None.
        response_tokens: (n,) int32, or None.
        slowdown: (L,) float64, or None where it was not measured. Entry k - 1 is s(k), by how much
            a batch of k requests runs slower than one request alone; s(1) = 1.
        name: What to call it in tables and messages.
        skipped: Rows of the file that were left out because they were malformed or had failed.
        time_to_first_token: (n,) float64, s. The part of ``base_latency`` until the first token,
            NaN where it was not measured; or None.
        families: n names of the kinds that the prompts are of, or None; equal names are one family.
        cached_tokens: (n,) int32, how many tokens of a prompt servers found in their caches when it
            was recorded, -1 (or NaN, when given) where that is not known; or None. An engine does
            not compute them; of a prompt, the last token is computed whatever this says.

    Raises:
        ValueError: If an array has another shape, length or range than stated above.

    >>> data = RequestDataset.from_arrays([0.5, 2.0], prompts=["Say yes.", "Tell a story."])
    >>> data
    RequestDataset('arrays', 2 requests, 0.500 to 2.000 s)
    >>> data.base_latency
    array([0.5, 2. ])
    """

    base_latency: NDArray[np.float64]
    embeddings: NDArray[np.float32] | None = None
    prompts: tuple[str, ...] | None = None
    prompt_tokens: NDArray[np.int32] | None = None
    response_tokens: NDArray[np.int32] | None = None
    slowdown: NDArray[np.float64] | None = None
    name: str = "arrays"
    skipped: int = 0
    time_to_first_token: NDArray[np.float64] | None = None
    families: tuple[str, ...] | None = None
    cached_tokens: NDArray[np.int32] | None = None
    _tables: dict[int | None, NDArray[np.float32]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        base_latency = check_base_latency(self.base_latency)
        n = len(base_latency)
        checked = {
            "base_latency": base_latency,
            "embeddings": check_embeddings(self.embeddings, n),
            "prompts": check_texts("prompts", self.prompts, n),
            "prompt_tokens": check_counts("prompt_tokens", self.prompt_tokens, n),
            "response_tokens": check_counts("response_tokens", self.response_tokens, n),
            "slowdown": check_slowdown(self.slowdown),
            "time_to_first_token": check_first_tokens(self.time_to_first_token, base_latency),
            "families": check_texts("families", self.families, n),
            "cached_tokens": check_found_tokens(self.cached_tokens, n),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        base_latency: ArrayLike | None = None,
        embeddings: ArrayLike | None = None,
        prompts: Sequence[str] | None = None,
        prompt_tokens: ArrayLike | None = None,
        response_tokens: ArrayLike | None = None,
        slowdown: ArrayLike | None = None,
        name: str = "arrays",
        *,
        time_to_first_token: ArrayLike | None = None,
        families: Sequence[str] | None = None,
        cached_tokens: ArrayLike | None = None,
        latency: ArrayLike | None = None,
    ) -> Self:
        """Makes a dataset of anything array-like; the arguments are the attributes of the class.

        ``latency`` is the name that ``base_latency`` had at first.

        Raises:
            TypeError: If not exactly one of the two is given.
        """
        if (base_latency is None) == (latency is None):
            raise TypeError("from_arrays() needs base_latency (s), and takes it once")
        arrays: dict[str, Any] = {
            "base_latency": base_latency if latency is None else latency,
            "embeddings": embeddings,
            "prompts": prompts,
            "prompt_tokens": prompt_tokens,
            "response_tokens": response_tokens,
            "slowdown": slowdown,
            "time_to_first_token": time_to_first_token,
            "families": families,
            "cached_tokens": cached_tokens,
        }
        dataset = cls(**arrays, name=name)
        remark_on_unit(name, dataset.base_latency, dataset.response_tokens)
        return dataset

    @property
    def latency(self) -> NDArray[np.float64]:
        """The name that `base_latency` had at first."""
        return self.base_latency

    @property
    def is_bundled(self) -> bool:
        """Whether it came with the package, or stands for requests of one that did.

        What the package knows of a dataset goes with this, not with what somebody calls theirs.
        """
        return isinstance(self.name, BundledName)

    @property
    def reference(self) -> Self:
        """What numbers of a whole dataset are to be taken from: this one.

        The requests of a live system come and go; they name the dataset that they stand in for.
        """
        return self

    def __len__(self) -> int:
        return len(self.base_latency)

    def __repr__(self) -> str:
        times = f"{self.base_latency.min():.3f} to {self.base_latency.max():.3f} s"
        return f"RequestDataset({shown(self.name)}, {len(self)} requests, {times})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # gymnasium.make deep-copies its arguments; nothing in here can change.
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Through the constructor: a pickle keeps its arrays read-only and has no cached tables.
        return type(self), tuple(getattr(self, item.name) for item in fields(self) if item.init)

    def rows(self, split: str) -> NDArray[np.int32]:
        """Returns the row numbers of one side of the split, ascending.

        A row belongs to the test side if a hash of its prompt falls into the lowest fifth of the
        hash's range: rows with equal prompts share a side, and a row keeps its side when others
        come or go. Without prompts the row number is hashed. The train side is divided in the same
        way for those who choose between models: "validation", and "fit" for what is left.

        Args:
            split: "all", "train" (about 80 %), "test", "fit" (about 64 %) or "validation".

        Raises:
            ValueError: If the split is unknown, or empty in this dataset.
        """
        check_choice("split", split, SPLITS)
        place, cut = self._places, TEST_SHARE + VALIDATION_SHARE
        sides = {
            "all": np.ones(len(self), np.bool_),
            "train": ~self._is_test,
            "test": self._is_test,
            "fit": place >= cut,
            "validation": ~self._is_test & (place < cut),
        }
        chosen = np.flatnonzero(sides[split])
        if chosen.size == 0:
            raise ValueError(f"split {shown(split)} of {shown(self)} is empty; use split='all'")
        return read_only(chosen.astype(np.int32))

    @cached_property
    def _places(self) -> NDArray[np.float64]:
        """Where the hash of each row's prompt lies in its range, as a share of it (n,)."""
        keys = self.prompts if self.prompts is not None else map(str, range(len(self)))
        hashes = [int.from_bytes(blake2b(_encoded(key), digest_size=8).digest()) for key in keys]
        return np.array([value / 2**64 for value in hashes])

    @cached_property
    def _is_test(self) -> NDArray[np.bool_]:
        return self._places < TEST_SHARE

    def embedding_table(self, dim: int | None) -> NDArray[np.float32]:
        """Returns the embeddings as an agent sees them: centred, scaled, shortened if asked for.

        The train rows alone (all rows where there are fewer than two) define the centre, the
        principal components and the scale, so nothing of the test side leaks. Every column is
        divided by one number, the train rows' standard deviation along their first principal
        component: entries are O(1), and a component of less variance stays smaller. Values are
        clipped to [-10, 10].

        Args:
            dim: Number of leading principal components, 1 to d; None for all d columns, unrotated.

        Returns:
            (n, dim) or (n, d) float32, read-only, computed once per `dim`. Components beyond the
            rank of the train rows are 0.

        Raises:
            TypeError: If `dim` is no integer.
            ValueError: If the dataset has no embeddings, or `dim` is out of range.
        """
        if self.embeddings is None:
            raise ValueError(f"{shown(self)} has no embeddings")
        width = self.embeddings.shape[1]
        if dim is not None:
            dim = check_integer("embedding_dim", dim, least=1, most=width)
        if dim not in self._tables:
            self._tables[dim] = read_only(self.projected(self.embeddings, dim))
        return self._tables[dim]

    def projected(self, embeddings: NDArray[np.float32], dim: int | None) -> NDArray[np.float32]:
        """Returns embeddings of any prompts as `embedding_table` shows those of this dataset.

        Args:
            embeddings: (n, d) or (d,), by the encoder of this dataset.
            dim: As there.

        Returns:
            (n, dim) or (n, d) float32, without n where that was not given.

        Raises:
            ValueError: If the dataset has no embeddings, or of another width.
        """
        if self.embeddings is None:
            raise ValueError(f"{shown(self)} has no embeddings")
        if embeddings.shape[-1] != self.embeddings.shape[1]:
            raise ValueError(
                f"embeddings of width {embeddings.shape[-1]}: those of {shown(self)} have width "
                f"{self.embeddings.shape[1]}"
            )
        centre, axes, scale = self._principal_components
        table = embeddings - centre
        if dim is not None:
            table = table @ axes[:, :dim]
        clipped = np.clip(table / scale, -EMBEDDING_BOUND, EMBEDDING_BOUND)
        return np.asarray(clipped, np.float32)

    @cached_property
    def _principal_components(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Centre (d,), axes (d, d) in columns by falling variance, first standard deviation."""
        assert self.embeddings is not None
        train = self.embeddings[~self._is_test]
        sample = (train if len(train) > 1 else self.embeddings).astype(np.float64)
        centre = sample.mean(axis=0)
        centred = sample - centre
        variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        variances, axes = variances[::-1], axes[:, ::-1]
        # An axis may point either way: its largest entry is positive by convention.
        peaks = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[peaks, np.arange(axes.shape[1])])
        # Variance within rounding error has no direction: it would differ from machine to machine.
        rounding = len(centre) * np.finfo(np.float64).eps * np.mean(np.sum(sample**2, axis=1))
        real = variances > rounding
        return centre, axes * real, float(np.sqrt(variances[0])) if real[0] else 1.0


def load_dataset(
    name_or_path: str | os.PathLike[str] | RequestDataset,
    *,
    machine: str | None = None,
    embeddings: str | os.PathLike[str] | ArrayLike | None = None,
    on_error: OnError = "raise",
) -> RequestDataset:
    """Loads a dataset; a bundled one only once in a process.

    Args:
        name_or_path: A bundled name (see `bundled_datasets`); the path of a `.jsonl`, `.parquet` or
            `.csv` file with the columns request_text and inference_time (s), and perhaps
            input_token_count and output_token_count (or prompt, base_latency, prompt_tokens and
            response_tokens), cached_tokens, time_to_first_token (s) and family; the path of a
            folder laid out like a bundled one, here or on the Hugging Face hub
            (`hf://datasets/OWNER/NAME`); or a `RequestDataset`, which is returned as it is. Which
            files beside the requests are read too, `edgecloud_gym.dataset.files.locate` says.
        machine: Which measurement of a dataset that was measured on several machines or servers
            (see `dataset_machines`); None for its own. `name@machine` says the same wherever a
            dataset is named.
        embeddings: An `.npz` file or an array (n, d) in place of the file beside the requests.
        on_error: "raise" at the first malformed row, or "skip" such rows: count them in `skipped`
            and warn.

    Raises:
        ValueError: If the name or the machine is unknown.
        UnreadableFileError: If a file is malformed, empty or about other prompts.
        FileNotFoundError: If a path leads nowhere.
        ConnectionError: If the hub cannot be asked.
    """
    if isinstance(name_or_path, RequestDataset):
        if machine is not None:
            raise ValueError(f"machine={shown(machine)}: must be None for a dataset that is loaded")
        if embeddings is None:
            return name_or_path
        vectors: Any = _embeddings_for(name_or_path.prompts, len(name_or_path), embeddings)
        return replace(name_or_path, embeddings=vectors, name=str(name_or_path.name))
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(
            f"dataset={shown(name_or_path)}: must be a bundled name, a path or a RequestDataset"
        )
    source = locate(name_or_path, machine)
    if embeddings is None and is_of_package(source):
        return _load_bundled(source)
    if is_recorded(name_or_path) and source.name in bundled_datasets():
        source = replace(source, name=BundledName(source.name))  # recordings tell them apart
    return _load(source, embeddings, on_error)


@cache
def _load_bundled(source: Source) -> RequestDataset:
    return _load(replace(source, name=BundledName(source.name)), None, "raise")


def _load(
    source: Source, embeddings: str | os.PathLike[str] | ArrayLike | None, on_error: OnError
) -> RequestDataset:
    columns = read_columns(source.requests, on_error)
    prompts = tuple(columns.prompts)
    given = source.embeddings if embeddings is None else embeddings
    arrays: dict[str, Any] = {
        "base_latency": columns.base_latency,
        "embeddings": None if given is None else _embeddings_for(prompts, len(prompts), given),
        "prompt_tokens": columns.prompt_tokens,
        "response_tokens": columns.response_tokens,
        "cached_tokens": columns.cached_tokens,
        "time_to_first_token": columns.time_to_first_token,
        "families": columns.families,
        "slowdown": None
        if source.slowdown is None
        else SlowdownFile.read(source.slowdown).slowdown,
    }
    try:
        dataset = RequestDataset(
            **arrays, prompts=prompts, name=source.name, skipped=columns.skipped
        )
    except ValueError as error:
        raise UnreadableFileError(f"{source.requests}: {error}") from error
    remark_on_unit(str(source.requests), dataset.base_latency, dataset.response_tokens)
    return dataset


def prompts_digest(prompts: Sequence[str]) -> str:
    """Returns a fingerprint of prompts, in order: what an embeddings file was computed from.

    BLAKE2b (16 bytes, as hex) over each prompt's UTF-8 length and bytes.
    """
    digest = blake2b(digest_size=16)
    for prompt in prompts:
        data = _encoded(prompt)
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _encoded(text: str) -> bytes:
    # JSON can spell half of a surrogate pair, which plain UTF-8 refuses.
    return text.encode("utf-8", errors="surrogatepass")


def _embeddings_for(
    prompts: Sequence[str] | None, n: int, given: str | os.PathLike[str] | ArrayLike
) -> ArrayLike | None:
    if not isinstance(given, str | os.PathLike):
        return given
    vectors, digest = read_embeddings(Path(given))
    if digest is not None and prompts is not None and digest != prompts_digest(prompts):
        raise UnreadableFileError(
            f"{given} is stale: its embeddings ({len(vectors)} rows) were computed from other "
            f"prompts than the dataset's ({len(prompts)} rows); embed the dataset anew"
        )
    try:
        return check_embeddings(vectors, n)
    except ValueError as error:
        raise UnreadableFileError(f"{given}: {error}") from error
