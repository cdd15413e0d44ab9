"""Records that lie within others: what a JSON file lists, and the questions of SQuAD's articles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data_tools.prompts.layouts import CONVERSATION_COLUMNS, LISTED, PROMPT_COLUMNS
from edgecloud_gym.dataset.tables import Record

_MAIN = {*PROMPT_COLUMNS, *CONVERSATION_COLUMNS} - {LISTED}


def entries_of(value: object) -> list[Any] | None:
    """Returns the entries of a JSON file: those of its list, or of the only list of an object.

    An object may also hold its records under their names, or a list for each column; else it is
    the only record itself. None for any other value.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    lists = [entry for entry in value.values() if isinstance(entry, list)]
    if len(lists) == len(value) == 1 and not _are_turns(lists[0]):
        return lists[0]
    if _MAIN & value.keys():
        return _rows(value) or [value]
    if value and all(isinstance(entry, dict) for entry in value.values()):
        return list(value.values())
    of_objects = [entries for entries in lists if entries and _are_objects(entries)]
    return of_objects[0] if len(of_objects) == 1 else [value]


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of an object of lists of one length, that of its texts among them."""
    lists = list(columns.values())
    if not all(isinstance(column, list) for column in lists):
        return []
    main = next(columns[name] for name in columns if name in _MAIN)
    if len({len(column) for column in lists}) > 1 or not all(
        isinstance(text, str) for text in main
    ):
        return []
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _are_objects(entries: list[Any]) -> bool:
    return all(isinstance(entry, dict) for entry in entries)


def _are_turns(entries: list[Any]) -> bool:
    return bool(entries) and all(
        isinstance(entry, dict) and ("role" in entry or "from" in entry) for entry in entries
    )


def flattened(records: Iterable[Record]) -> Iterator[Record]:
    """Yields the records; in place of an article of SQuAD its questions, with their paragraphs."""
    for where, record in records:
        if isinstance(record, ValueError) or not isinstance(record.get("paragraphs"), list):
            yield where, record
            continue
        for number, paragraph in enumerate(record["paragraphs"], start=1):
            yield from _questions(f"{where}, paragraph {number}", paragraph)


def _questions(where: str, paragraph: object) -> Iterator[Record]:
    questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
    if not isinstance(questions, list) or not _are_objects(questions):
        yield where, ValueError("field 'qas' must be a list of questions, as in SQuAD")
        return
    assert isinstance(paragraph, dict)
    for number, question in enumerate(questions, start=1):
        yield f"{where}, question {number}", {"context": paragraph.get("context"), **question}
