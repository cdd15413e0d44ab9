"""Where the profiler's prompts come from: the built-in set, a file, or a hub dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_tools.hub import require_on_hub
from data_tools.prompts.builtin import DEFAULT_PROMPT_COUNT, generate_prompts

BUILT_IN = "builtin"
DEFAULT_DATASET = "tatsu-lab/alpaca"

_READERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet"}
_PROMPT_COLUMNS = ("request_text", "prompt", "question", "text")


def load_prompts(
    source: str = DEFAULT_DATASET,
    *,
    split: str = "train",
    column: str | None = None,
    limit: int | None = None,
) -> list[str]:
    """Reads prompts, one per record, in order.

    Args:
        source: "builtin"; a ``.json``, ``.jsonl`` or ``.parquet`` file; a directory of such files;
            or a dataset on the hub.
        split: Split of a dataset, with an optional slice as in "train[:50000]". A single file is
            one split, "train"; the built-in set has none.
        column: Column that holds the prompt. None finds it: Alpaca's ``instruction`` with its
            ``input`` below, else the first of request_text, prompt, question, text.
        limit: Keep at most this many, >= 1.

    Raises:
        ValueError: If the records hold no prompts, or a setting is out of range.
        FileNotFoundError: If ``source`` looks like a file and does not exist.
        ConnectionError: If the hub cannot be reached.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    if source == BUILT_IN:
        return [prompt.text for prompt in generate_prompts(limit or DEFAULT_PROMPT_COUNT)]
    records = _load_records(source, split)
    if limit is not None:
        records = records.select(range(min(limit, len(records))))
    columns = records.column_names
    if column is not None and column not in columns:
        raise ValueError(f"column {column!r} is not in {source}: it has {', '.join(columns)}")
    prompts = [_prompt(record, column) for record in records]
    if not prompts:
        raise ValueError(f"{source} ({split}) holds no records")
    return prompts


def _load_records(source: str, split: str) -> Any:
    """Returns the ``datasets.Dataset`` of a file, a directory or a hub id."""
    from datasets import load_dataset

    path = Path(source)
    if path.suffix in _READERS:
        if not path.is_file():
            raise FileNotFoundError(f"prompt file {source} does not exist")
        return load_dataset(_READERS[path.suffix], data_files=str(path), split=split)
    if not path.is_dir():
        require_on_hub(source, "dataset")
    return load_dataset(source, split=split)


def _prompt(record: Mapping[str, Any], column: str | None) -> str:
    """Returns the prompt of one record."""
    if column is not None:
        return str(record[column])
    if "instruction" in record:
        parts = (record["instruction"], record.get("input"))
        return "\n\n".join(part for part in parts if part)
    for name in _PROMPT_COLUMNS:
        if name in record:
            return str(record[name])
    raise ValueError(
        f"no prompt column among {', '.join(record)}; name it with column=, or provide "
        f"instruction, {', '.join(_PROMPT_COLUMNS)}"
    )
