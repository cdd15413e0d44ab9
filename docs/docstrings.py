"""A griffe extension: docstrings as they are written here become Markdown that reads well.

- Doctests that stand in running text become highlighted code blocks.
- A double colon before an indented block becomes a single one: Markdown needs none.
- A name in single backticks becomes a link where the site documents what it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import griffe

_DOUBLE_COLON = re.compile(r"::$", re.MULTILINE)
_PROMPT = re.compile(r"\s*>>> ")
_NAME = re.compile(r"(?<![`\w])`([A-Za-z_][\w.]*)`(?!`)")
_PACKAGES = ("edgecloud_gym", "agents", "data_tools")


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrites the docstrings of everything in a package."""
        del kwargs
        objects = list(_everything_in(pkg))
        classes = {obj.name: obj.path for obj in objects if obj.is_class}
        for obj in objects:
            if obj.docstring is not None:
                text = _fence_doctests(_DOUBLE_COLON.sub(":", obj.docstring.value))
                obj.docstring.value = _NAME.sub(partial(_link, obj, classes), text)


def _everything_in(obj: griffe.Object) -> Iterator[griffe.Object]:
    yield obj
    for member in obj.members.values():
        if isinstance(member, griffe.Object):  # an alias is told where it is defined
            yield from _everything_in(member)


def _fence_doctests(text: str) -> str:
    """Puts each doctest, which ends at an empty line, into a fence of the same indentation."""
    lines: list[str] = []
    inside = fenced = False
    indent = ""
    for line in [*text.split("\n"), ""]:
        fenced ^= line.lstrip().startswith("```")
        if not inside and not fenced and _PROMPT.match(line):
            inside, indent = True, line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif inside and not line.strip():
            inside = False
            lines.append(f"{indent}```")
        lines.append(line)
    return "\n".join(lines[:-1])


def _link(obj: griffe.Object, classes: Mapping[str, str], found: re.Match[str]) -> str:
    """Returns a name as an optional cross-reference, which stays plain where there is no target."""
    name = found[1]
    path = name if name.startswith(_PACKAGES) else _resolved(obj, classes, name)
    if path is None:
        return found[0]
    return f'<autoref optional identifier="{path}"><code>{name}</code></autoref>'


def _resolved(obj: griffe.Object, classes: Mapping[str, str], name: str) -> str | None:
    """Returns what a name means where ``obj`` stands, or ``None``.

    A class that is not known there is looked for in the whole package.
    """
    scope: griffe.Object | griffe.Alias | None = obj
    first, _, rest = name.partition(".")
    while scope is not None:
        if first in scope.members:
            member = scope.members[first]
            path = member.target_path if member.is_alias else member.path
            return ".".join(filter(None, (path, rest)))
        scope = scope.parent
    return ".".join(filter(None, (classes[first], rest))) if first in classes else None
