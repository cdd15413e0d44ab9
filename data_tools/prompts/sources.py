"""Where the profiler's prompts come from: the built-in set, files here, or a hub dataset."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from data_tools.hub import require_on_hub
from data_tools.prompts.builtin import DEFAULT_PROMPT_COUNT, generate_prompts
from data_tools.prompts.layouts import prompt_of
from data_tools.prompts.nested import entries_of, flattened
from edgecloud_gym.checks import check_choice, check_integer
from edgecloud_gym.dataset.rows import OnError
from edgecloud_gym.dataset.tables import Record, read_table, table_suffix
from edgecloud_gym.files import UnreadableFileError, read_json, read_jsonl
from edgecloud_gym.unpacking import PACKED_SUFFIXES, check_packing, unpacking
from edgecloud_gym.wording import listed, shown

BUILT_IN: Final = "builtin"
DEFAULT_DATASET: Final = "tatsu-lab/alpaca"

_WHOLE_SPLITS: Final = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip


def load_prompts(
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]] = DEFAULT_DATASET,
    *,
    split: str = "train",
    column: str | None = None,
    limit: int | None = None,
    on_error: OnError = "raise",
) -> list[str]:
    """Reads prompts, one per record, in order.

    Args:
        source: "builtin"; a JSON, JSON lines, Parquet, CSV or text file (one prompt a line), packed
            or not; a directory of such files; or a dataset on the hub. One of several
            configurations is named behind a colon, as in "openai/gsm8k:main", and so is one of a
            dataset's repository here, or a folder in it. "builtin" goes before a file of that name
            here, with a warning: "./builtin" is the file. Also a `Dataset` or `IterableDataset` of
            `datasets`, or a dictionary of them by split.
        split: Split of a dataset, with an optional slice as in "train[:50000]". A single file is
            one split, "train"; the built-in set has none.
        column: Column that holds the prompt, alone. None finds it, and what belongs to it; see
            `data_tools.prompts.layouts`.
        limit: Keep at most this many, >= 1.
        on_error: "raise" at the first record without a usable prompt, or "skip" such records and
            warn.

    Raises:
        ValueError: If a setting is out of range.
        UnreadableFileError: If a record holds no prompt, or a file cannot be read; names both.
        FileNotFoundError: If ``source`` looks like a file and does not exist.
        ConnectionError: If the hub cannot be reached.
    """
    if limit is not None:
        check_integer("limit", limit, least=1)
    check_choice("on_error", on_error, ("raise", "skip"))
    if not isinstance(source, str | os.PathLike):
        name = f"the {type(source).__name__}"
        rows = enumerate(_of_split(source, split), start=1)
        return _some(name, ((f"row {n}", _row(row)) for n, row in rows), column, limit, on_error)
    source = os.fspath(source)
    if source == BUILT_IN:
        if Path(source).exists():
            warnings.warn(
                f"{shown(source)} is the built-in set; './{source}' would be what lies here under "
                "that name",
                UserWarning,
                stacklevel=2,
            )
        return [prompt.text for prompt in generate_prompts(limit or DEFAULT_PROMPT_COUNT)]
    return _some(f"{source} ({split})", _records(source, split), column, limit, on_error, source)


def _some(
    what: str,
    records: Iterable[Record],
    column: str | None,
    limit: int | None,
    on_error: OnError,
    source: str = "",
) -> list[str]:
    """Returns the first prompts of records, of which there must be some."""
    prompts = list(islice(_prompts(source or what, records, column, on_error), limit))
    if not prompts:
        raise UnreadableFileError(f"{what} holds no prompts")
    return prompts


def _of_split(data: Any, split: str) -> Iterable[Mapping[str, Any]]:
    """Returns the rows of a dataset, or of one split of a dictionary of them."""
    if isinstance(data, Mapping):
        if split not in data:
            raise ValueError(f"split={shown(split)}: the dataset has {listed(data)}")
        return _of_split(data[split], split)
    if not isinstance(data, Iterable):
        raise TypeError(f"source={shown(data)}: must be a name, a path or a dataset of `datasets`")
    return data


def _row(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(
            f"source: has the row {shown(row)}; rows must be mappings, {{'prompt': ...}}"
        )
    return dict(row)


def _prompts(
    source: str, records: Iterable[Record], column: str | None, on_error: OnError
) -> Iterator[str]:
    """Yields the prompts; warns at the end of records that were left out."""
    left_out: list[str] = []
    for where, record in records:
        try:
            prompt = _prompt(source, record, column)
        except ValueError as error:
            if on_error == "raise":
                raise UnreadableFileError(f"{source}, {where}: {error}") from error
            left_out.append(f"{where}: {error}")
            continue
        if prompt is not None:
            yield prompt
    if left_out:
        warnings.warn(
            f"{source}: left out {len(left_out)} records; the first: {left_out[0]}",
            UserWarning,
            stacklevel=2,
        )


def _prompt(source: str, record: Mapping[str, Any] | ValueError, column: str | None) -> str | None:
    if isinstance(record, ValueError):
        raise record
    if column is not None and column not in record:
        raise ValueError(f"column {shown(column)} is not in {source}: it has {listed(record)}")
    return prompt_of(record, column)


def _records(source: str, split: str) -> Iterable[Record]:
    """Returns the records of a file, a directory or a hub dataset."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _sliced(_split_files(path, source), split)
    if path.exists():
        return _sliced({"train": [path]}, split)
    base, _, config = source.rpartition(":")
    repository = Path(base).expanduser()
    if base and repository.is_dir():
        if (repository / config).is_dir():
            return _sliced(_split_files(repository / config, f"{base}/{config}"), split)
        return _of_repository(str(repository), split, config)
    if table_suffix(path) in _READERS or path.is_absolute() or source.startswith((".", "~")):
        raise FileNotFoundError(f"prompt file {source} does not exist")
    require_on_hub(base or source, "dataset")
    return _of_repository(base or source, split, config if base else None)


def _of_repository(name: str, split: str, config: str | None) -> Iterator[Record]:
    """Yields the records of a dataset on the hub, or of a repository of one here."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        records = load_dataset(name, name=config, split=split)
    except FileNotFoundError:
        raise
    except (DatasetsError, RuntimeError, ValueError) as error:
        # Damaged data; a script, which is not run; another split or configuration.
        hint = f"; name it behind a colon, as in {name}:CONFIG" if "onfig" in str(error) else ""
        raise UnreadableFileError(f"{name}: {error.__cause__ or error}{hint}") from error
    yield from flattened((f"record {number}", record) for number, record in enumerate(records, 1))


def _split_files(directory: Path, given: str) -> dict[str, list[Path]]:
    """Returns the data files of a directory by the split that their names state.

    Args:
        directory: The directory.
        given: What its user calls it, for messages.

    Raises:
        UnreadableFileError: If there are none, or the files of a split lie in several folders, as
            several data sets do.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(directory.rglob("*")):
        inside = path.relative_to(directory)
        hidden = any(part.startswith((".", "_")) for part in inside.parts)
        if path.is_file() and not hidden and _is_data(path):
            files[_stated_split(inside)].append(path)
    if len(files) > 1:
        files.pop("", None)  # as `datasets` does: where names state splits, others are no data
    if not files:
        kinds = ", ".join(_READERS)
        raise UnreadableFileError(f"directory {given} holds no data files ({kinds})")
    for paths in files.values():
        folders = sorted({path.parent.relative_to(directory).as_posix() for path in paths})
        if len(folders) > 1:
            raise UnreadableFileError(
                f"directory {given} holds several data sets, in {listed(folders)}: name "
                f"one, as in {given}:{folders[0]}"
            )
    return {split or "train": paths for split, paths in files.items()}


def _is_data(path: Path) -> bool:
    if Path(path.stem).suffix.lower() in _READERS:  # damaged or not, it is meant to be
        return path.suffix.lower() in (*PACKED_SUFFIXES, *_READERS)
    try:
        return table_suffix(path) in _READERS
    except UnreadableFileError:
        return False


def _stated_split(inside: Path) -> str:
    """Returns the split that a file's name states, or its folder's; nothing if neither does."""
    for part in reversed(inside.parts):
        for word in re.split("[^a-z]+", part.lower()):
            if word in _WHOLE_SPLITS:
                return _WHOLE_SPLITS[word]
    return ""


def _sliced(files: Mapping[str, Sequence[Path]], split: str) -> Iterable[Record]:
    """Returns the records of a split, perhaps a slice of it, as `datasets` writes slices."""
    if split in files:
        return _all_records(files[split])
    from datasets import ReadInstruction

    records = {name: list(_all_records(paths)) for name, paths in files.items()}
    lengths = {name: len(found) for name, found in records.items()}
    parts = ReadInstruction.from_spec(split).to_absolute(lengths)
    return [entry for part in parts for entry in records[part.splitname][part.from_ : part.to]]


def _all_records(paths: Sequence[Path]) -> Iterator[Record]:
    for path in paths:
        suffix = table_suffix(path)
        if suffix not in _READERS:
            check_packing(path)
            raise UnreadableFileError(
                f"prompt file {path}: must end in {', '.join(_READERS)}, packed or not (in a zip, "
                "the file inside)"
            )
        for where, record in flattened(_READERS[suffix](path)):
            yield (where if len(paths) == 1 else f"{path.name}, {where}"), record


def _read_text(path: Path) -> Iterator[Record]:
    """Yields each line that is not blank as a record."""
    with unpacking(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield f"line {number}", ValueError(f"not UTF-8: {error}")
                continue
            if text.strip():
                yield f"line {number}", {"text": text}


def _read_json(path: Path) -> Iterator[Record]:
    """Yields the entries of a JSON file (see `entries_of`), or JSON lines."""
    try:
        value = read_json(path)
    except UnreadableFileError:
        lines = list(read_jsonl(path))
        if lines and isinstance(lines[0][1], ValueError):
            raise
        for number, record in lines:
            yield f"line {number}", record
        return
    entries = entries_of(value)
    if entries is None:
        raise UnreadableFileError(f"{path}: must hold a list of records, got {value!r:.60}")
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, str):
            entry = {"text": entry}
        fault = ValueError(f"a JSON object is needed, got {type(entry).__name__} {entry!r:.60}")
        yield f"record {number}", entry if isinstance(entry, dict) else fault


_READERS: Final[dict[str, Callable[[Path], Iterable[Record]]]] = {
    ".json": _read_json,
    ".jsonl": read_table,
    ".parquet": read_table,
    ".csv": read_table,
    ".txt": _read_text,
}
