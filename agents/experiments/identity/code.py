"""The code behind a class or a function: what a result depends on besides its settings.

What is read of it:

- the source files of the classes, of their bases, and of every module that these import, whatever
  is neither Python's own nor installed (in ``site-packages``);
- what is in memory of those modules, in compiled form, since a notebook or a long session may run
  code that its file no longer holds; and the values of the globals that the code names, where they
  are numbers, texts, arrays, or collections of them;
- where there is no file (a notebook, standard input, ``python -c``): the compiled code of the class
  or function itself, and of what it names;
- the versions of installed packages that are imported on the way.

Not seen: modules imported under a name that is computed, and files that the code opens by itself.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from agents.experiments.identity.modules import imports, is_installed, source_of
from agents.experiments.identity.source import is_ours

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]+")
_PLAIN: Final = (bool, int, float, complex, str, bytes, tuple, list, dict, set, type(None))


@dataclass
class Code:
    """The code that was found behind something.

    Attributes:
        files: Digests of source files, by path.
        loaded: Digests of compiled code, by module or qualified name.
        packages: Versions of installed packages, by name.
    """

    files: dict[str, str] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Returns a JSON value, equal if and only if the code is; paths do not matter."""
        return {
            "files": sorted(self.files.values()),
            "loaded": sorted(self.loaded.items()),
            "packages": sorted(self.packages.items()),
        }


def code_behind(*things: object) -> Code:
    """Returns the code behind classes and functions; objects stand for their class."""
    walk = _Walk()
    for thing in things:
        walk.visit(thing)
    return walk.code


def digest(content: bytes) -> str:
    """Identifies bytes."""
    return hashlib.blake2b(content, digest_size=10).hexdigest()


class _Walk:
    """A walk from one piece of code to all that it names."""

    def __init__(self) -> None:
        self.code = Code()
        self._seen: set[int | str] = set()
        self._named: set[str] = set()  # by the functions met so far: globals, attributes
        self._keep: list[object] = []  # ids are only unique among the living

    def visit(self, thing: object) -> None:
        if isinstance(thing, functools.partial):
            self.visit(thing.func)
        elif isinstance(thing, ModuleType):
            self._module(thing.__name__)
        elif isinstance(thing, MethodType):
            self.visit(thing.__func__)
        elif isinstance(thing, type):
            for base in thing.__mro__:
                self._definition(base)
        elif isinstance(thing, FunctionType):
            self._definition(thing)
        elif type(thing).__module__ != "builtins":
            self.visit(type(thing))

    def _definition(self, thing: type | FunctionType) -> None:
        """Takes the module of a class or function, or its compiled code where there is no file."""
        name = thing.__module__
        if name == "builtins" or id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        self._keep.append(thing)
        known = name in sys.modules
        if known and is_installed(name) and _stands_there(thing):
            self._package(name)
            return
        path = source_of(name) if known and not is_installed(name) else None
        if path is not None:
            self._module(name)
            if not is_ours(path):
                # One of several made by a function has its own, though they share the file.
                self.code.loaded[f"{name}.{thing.__qualname__}"] = _compiled(thing)
            return
        self.code.loaded[f"{name}.{thing.__qualname__}"] = _compiled(thing)
        for function in functions_of(thing):
            for used in sorted(_names(function.__code__)):
                if used in function.__globals__:
                    self._used(f"{name}.{used}", function.__globals__[used])

    def _used(self, name: str, value: object) -> None:
        if isinstance(value, (ModuleType, type, FunctionType, MethodType, functools.partial)):
            self.visit(value)
        else:
            self.code.loaded[name] = digest(_value(value).encode("utf-8", "surrogatepass"))
            self.visit(type(value))

    def _module(self, name: str) -> None:
        if name in self._seen:
            return
        self._seen.add(name)
        if is_installed(name):
            self._package(name)
            return
        path = source_of(name)
        if path is None or is_ours(path):
            return
        content = path.read_bytes()
        self.code.files[str(path)] = digest(content)
        module = sys.modules.get(name)
        if module is not None:
            own = (v for v in vars(module).values() if getattr(v, "__module__", None) == name)
            definitions = [v for v in own if isinstance(v, (type, FunctionType))]
            for definition in definitions:
                self._named.update(*(_names(f.__code__) for f in functions_of(definition)))
            parts = sorted(map(_compiled, definitions))
            parts += [f"{n}={_value(vars(module)[n])}" for n in self._data_of(module)]
            self.code.loaded[name] = digest("".join(parts).encode("utf-8", "surrogatepass"))
        for imported in imports(name, content, is_package=path.name == "__init__.py"):
            self._module(imported)

    def _data_of(self, module: ModuleType) -> list[str]:
        """Returns the globals of a module that are data, and that code met so far names."""
        names = self._named & vars(module).keys()
        return sorted(n for n in names if isinstance(vars(module)[n], (*_PLAIN, np.ndarray)))

    def _package(self, name: str) -> None:
        for package in _distributions().get(name.partition(".")[0], ()):
            try:
                self.code.packages[package] = version(package)
            except PackageNotFoundError:
                continue


def _stands_there(thing: type | FunctionType) -> bool:
    """Tells whether a module has what claims to be its own: `type()` names whoever called it."""
    found: object = sys.modules[thing.__module__]
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def functions_of(thing: type | FunctionType) -> Iterator[FunctionType]:
    """Yields the functions that a class defines, whatever wraps them; a function yields itself."""
    if isinstance(thing, FunctionType):
        yield thing
        return
    for value in vars(thing).values():
        if isinstance(value, property):
            yield from (f for f in (value.fget, value.fset) if isinstance(f, FunctionType))
            continue
        inner = getattr(value, "func", None) or getattr(value, "__func__", value)
        if isinstance(inner, FunctionType):
            yield inner


def _compiled(thing: type | FunctionType) -> str:
    """Identifies what a class or function does, without its source."""
    parts = [thing.__qualname__]
    if isinstance(thing, type):
        parts += [
            f"{name}={_text(value)}"
            for name, value in sorted(vars(thing).items())
            if isinstance(value, _PLAIN) and not name.startswith("__")  # Python's own notes
        ]
    for function in functions_of(thing):
        defaults = _text((function.__defaults__, function.__kwdefaults__))
        parts += [function.__name__, defaults, *_instructions(function.__code__)]
    return digest("\0".join(parts).encode("utf-8", "surrogatepass"))


def _value(value: object) -> str:
    """Returns what a global holds as text; of an array its content, which a repr cuts short."""
    if isinstance(value, np.ma.MaskedArray):
        return f"{_value(value.data)}{_value(np.ma.getmaskarray(value))}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{digest(value.tobytes())}"
    return _text(value)


def _text(value: object) -> str:
    """Returns an object's repr without addresses, which differ from start to start."""
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(_text, value)))
    return _ADDRESS.sub("", repr(value))


def _instructions(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
        else:
            yield _text(constant)


def _names(code: CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*map(_names, inner))


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(found) for name, found in packages_distributions().items()}
