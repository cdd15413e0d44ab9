"""The prompt of a record, in the layouts that published datasets have.

Instructions come with an ``input`` or a ``context`` below, questions with a ``context``,
``passage`` or ``article`` below, lettered choices below that, and a system prompt above, also that
of a conversation beside them. Conversations give their first human turn, with the system's above.
Of turns that are records of their own (OpenAssistant) only the human's are prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any, Final

from edgecloud_gym.checks import has_half_character
from edgecloud_gym.wording import listed, shown

# Where a record's prompt stands, first come first served.
PROMPT_COLUMNS: Final = (
    *("instruction", "request_text", "prompt", "question", "query", "text"),
    *("inputs", "input"),
)
LISTED: Final = "data"  # of UltraChat: the turns
CONVERSATION_COLUMNS: Final = (
    *("messages", "conversations", "conversation", "dialog", "dialogue"),
    *("turns", "conversation_a", LISTED),
)
_LAST_RESORT: Final = ("text", "inputs", "input")  # a conversation beside it tells more
# What belongs to it, for the columns that have such companions.
_ABOVE: Final = ("system_prompt", "system")
_BELOW: Final = ("input", "context", "passage", "article", "paragraph", "story")
_CHOICES: Final = ("choices", "options")  # of multiple-choice questions
_ACCOMPANIED: Final = ("instruction", "prompt", "question", "query", "input")
_INSTANCES: Final = "instances"  # of Self-Instruct: the inputs of an instruction

_SPEAKING: Final = (("role", "content"), ("from", "value"))  # of OpenAI, of ShareGPT
_HUMAN: Final = frozenset({"user", "human", "prompter"})
_SYSTEM: Final = frozenset({"system", "developer"})
_OTHERS: Final = _SYSTEM | {"assistant", "gpt", "chatgpt", "bot", "model", "tool", "function"}
_PLACEHOLDERS: Final = frozenset(  # by which Alpaca and its descendants say that there is none
    {"<noinput>", "<no input>", "noinput", "no input", "n/a", "none", "not applicable"}
)


def prompt_of(record: Mapping[str, Any], column: str | None = None) -> str | None:
    """Returns the prompt of one record; None if the record is a turn of someone else.

    Args:
        record: Its fields.
        column: The field that holds the prompt, alone; None finds it and what belongs to it.

    Raises:
        ValueError: If it has none, or a field of it is empty or of another type; names the field.
    """
    if column is not None:
        return _text_or_first_turn(column, record[column])
    main = next((name for name in PROMPT_COLUMNS if name in record), None)
    turns = next((name for name in CONVERSATION_COLUMNS if name in record), None)
    system = ""  # of a conversation beside the prompt, as in No Robots
    if turns is not None and main in (None, *_LAST_RESORT):
        prompt, main = _first_turn(turns, record[turns]), "prompt"
    elif main is None:
        raise ValueError(
            f"no prompt column among {listed(record) or 'no fields'}; name it with column=, or "
            f"provide {', '.join(PROMPT_COLUMNS)} or {', '.join(CONVERSATION_COLUMNS)}"
        )
    elif main == "text" and "role" in record and not _is_one(record["role"], _HUMAN):
        if _is_one(record["role"], _OTHERS):
            return None
        raise ValueError(f"field 'role' must say who speaks, got {_shown(record['role'])}")
    else:
        prompt = _text_or_first_turn(main, record[main])
        system = "" if turns is None else _system_beside(turns, record[turns])
    if main not in _ACCOMPANIED:
        return prompt
    above = [_companion(name, record[name]) for name in _ABOVE if name in record]
    if not any(above):
        above = [system]
    elif prompt.startswith(above[0] + "\n\n"):  # the conversation has said it
        above = []
    below = [_companion(name, record[name]) for name in _BELOW if name in record and name != main]
    if main == "instruction" and "input" not in record:
        below.append(_first_instance(record.get(_INSTANCES)))
    if main == "question":
        below += [_lettered(name, record[name]) for name in _CHOICES if name in record]
    return "\n\n".join(part for part in (*above, prompt, *below) if part)


def _text_or_first_turn(name: str, value: object) -> str:
    if isinstance(value, Mapping) and _is_one(value.get("role"), _HUMAN) and "text" in value:
        return _text(name, value["text"])  # the root of a tree of OpenAssistant
    return _first_turn(name, value) if isinstance(value, list) else _text(name, value)


def _system_beside(name: str, turns: object) -> str:
    """Returns what the system says at the start of a conversation; nothing of any other value."""
    first = turns[0] if isinstance(turns, list) and turns else None
    if not isinstance(first, Mapping):
        return ""
    for role, content in _SPEAKING:
        if _is_one(first.get(role), _SYSTEM):
            return _companion(name, _joined(first.get(content)))
    return ""


def _first_instance(instances: object) -> str:
    first = instances[0] if isinstance(instances, list) and instances else None
    if not isinstance(first, Mapping):
        return ""
    return _companion(f"{_INSTANCES}[0].input", first.get("input"))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {shown(name)} must be text, got {_shown(value)}")
    if not value.strip():
        raise ValueError(f"field {shown(name)} is blank")
    return _whole(name, value)


def _whole(name: str, text: str) -> str:
    if has_half_character(text):
        raise ValueError(f"field {shown(name)} holds half a character (a lone surrogate)")
    return text


def _companion(name: str, value: object) -> str:
    """Returns what a companion adds: nothing if it is absent, blank or says that there is none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(
            f"field {shown(name)} must be text, got {_shown(value)}; to use one field alone, name "
            "it with column="
        )
    nothing = not value.strip() or value.strip().lower() in _PLACEHOLDERS
    return "" if nothing else _whole(name, value)


def _lettered(name: str, choices: object) -> str:
    """Returns the choices one a line: texts (MMLU), texts by letter (MedQA) or beside labels (ARC).

    Raises:
        ValueError: If they are none of these.
    """
    if not choices:
        return ""
    labels: Any = ascii_uppercase
    texts: Any = choices
    if isinstance(choices, Mapping) and {"text", "label"} <= choices.keys():
        labels, texts = choices["label"], choices["text"]
    elif isinstance(choices, Mapping):
        if not all(isinstance(text, str) for text in choices.values()):
            return ""  # settings, not choices
        labels, texts = list(choices), list(choices.values())
    elif isinstance(choices, list) and all(
        isinstance(choice, Mapping) and {"key", "value"} <= choice.keys() for choice in choices
    ):
        labels = [choice["key"] for choice in choices]
        texts = [choice["value"] for choice in choices]
    if (
        not isinstance(texts, list)
        or not isinstance(labels, list | str)
        or len(texts) > len(labels)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise ValueError(
            f"field {shown(name)} must be a list of texts, or texts by letter, got "
            f"{_shown(choices)}; to use one field alone, name it with column="
        )
    pairs = zip(labels[: len(texts)], texts, strict=True)
    return _whole(name, "\n".join(f"{label}. {text}" for label, text in pairs))


def _first_turn(name: str, turns: object) -> str:
    """Returns the first human turn of a conversation, with what the system says before it."""
    if not isinstance(turns, list):
        raise ValueError(f"field {shown(name)} must be a list of turns, got {_shown(turns)}")
    said: list[str] = []
    for turn in turns:
        if isinstance(turn, str):  # without roles, the human begins
            return "\n\n".join([*said, _text(name, turn)])
        role, content = _turn(name, turn)
        if _is_one(role, _SYSTEM) and not said:
            said.append(_companion(name, content))
        elif _is_one(role, _HUMAN):
            return "\n\n".join([*filter(None, said), _text(name, content)])
    raise ValueError(f"field {shown(name)} has no human turn")


def _turn(name: str, turn: object) -> tuple[object, object]:
    """Returns who speaks and what, in the names of OpenAI or of ShareGPT."""
    if isinstance(turn, Mapping):
        for role, content in _SPEAKING:
            if role in turn and content in turn:
                return turn[role], _joined(turn[content])
        if turn.keys() == {"content"}:  # without roles, the human begins
            return "user", _joined(turn["content"])
        if {"input", "output"} <= turn.keys():  # of Capybara: a question and its answer
            return "user", turn["input"]
    raise ValueError(f"field {shown(name)} must be a list of turns with role and content")


def _is_one(role: object, names: frozenset[str]) -> bool:
    return isinstance(role, str) and role.strip().lower() in names


def _joined(content: object) -> object:
    """Returns content that comes in parts as one text."""
    if not isinstance(content, list):
        return content
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "".join(part for part in parts if isinstance(part, str))


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.60}"
