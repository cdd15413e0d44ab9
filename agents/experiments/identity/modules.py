"""Modules as they lie on the disk: their source, what it imports, whether they are installed."""

from __future__ import annotations

import ast
import importlib.util
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

# Environments may lie in layers, of which the lower ones are none of Python's own folders.
_INSTALLED: Final = ("site-packages", "dist-packages")
# In two threads at a time, as of a Dask worker, it may raise a SystemError: CPython's gh-106905,
# which older patch releases of 3.11 and 3.12 have.
_PARSING: Final = threading.Lock()


def source_of(name: str) -> Path | None:
    """Returns a module's source file; None where there is none to be read."""
    origin = _origin(name)
    if origin is None or origin.suffix not in (".py", ".pyw", "") or not origin.is_file():
        return None
    return origin


def imports(name: str, content: bytes, *, is_package: bool) -> Iterator[str]:
    """Yields the modules that a module's source imports, wherever in it."""
    try:
        with _PARSING:
            tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).strip(".")
            yield from _parents(base)
            if not is_installed(base):
                yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _parents(name: str) -> Iterable[str]:
    """Returns a, a.b and a.b.c of "a.b.c"."""
    parts = [part for part in name.split(".") if part]
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@cache
def is_installed(name: str) -> bool:
    """Tells whether a module is Python's own, compiled in, or installed with a package."""
    top = name.partition(".")[0]
    if not top or top == "__main__":
        return False
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    origin = _origin(top)
    return origin is not None and any(
        folder in _installed_folders() or folder.name in _INSTALLED for folder in origin.parents
    )


def _origin(name: str) -> Path | None:
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return None if file is None else Path(file).resolve()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    return Path(spec.origin).resolve()


@cache
def _installed_folders() -> frozenset[Path]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return frozenset(
        Path(folder).resolve()
        for folder in (*folders, *site.getsitepackages(), site.getusersitepackages())
    )
