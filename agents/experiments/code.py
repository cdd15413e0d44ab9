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

import ast
import functools
import hashlib
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

import edgecloud_gym

# Sources that only show results: a change in them keeps finished runs.
_PRESENTATION: Final = (
    "agents/cli",
    "agents/report",
    "agents/statistics.py",
    "agents/suite",
    "edgecloud_gym/render",
)
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]+")
_PLAIN: Final = (bool, int, float, complex, str, bytes, tuple, list, dict, set, type(None))
# Environments may lie in layers, of which the lower ones are none of Python's own folders.
_INSTALLED: Final = ("site-packages", "dist-packages")
_OURS: Final = (Path(edgecloud_gym.__file__ or "").parent, Path(__file__).parents[1])


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


@cache
def source_digest() -> str:
    """Identifies the code of environment and agents, so that no result outlives it."""
    sums = hashlib.blake2b(digest_size=10)
    for parent in _OURS:
        for path in sorted(parent.rglob("*.py")):
            name = path.relative_to(parent.parent).as_posix()
            if not name.startswith(_PRESENTATION):
                sums.update(name.encode())
                sums.update(path.read_bytes())
    return sums.hexdigest()


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
        if known and _is_installed(name) and _stands_there(thing):
            self._package(name)
            return
        path = _source(name) if known and not _is_installed(name) else None
        if path is not None:
            self._module(name)
            if not _is_ours(path):
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
        if _is_installed(name):
            self._package(name)
            return
        path = _source(name)
        if path is None or _is_ours(path):
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
        for imported in _imports(name, content, is_package=path.name == "__init__.py"):
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


def _imports(name: str, content: bytes, *, is_package: bool) -> Iterator[str]:
    """Yields the modules that a module's source imports, wherever in it."""
    try:
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
            if not _is_installed(base):
                yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _parents(name: str) -> Iterable[str]:
    """Returns a, a.b and a.b.c of "a.b.c"."""
    parts = [part for part in name.split(".") if part]
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _source(name: str) -> Path | None:
    """Returns a module's source file; None where there is none to be read."""
    origin = _origin(name)
    if origin is None or origin.suffix not in (".py", ".pyw", "") or not origin.is_file():
        return None
    return origin


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
def _is_installed(name: str) -> bool:
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


@cache
def _installed_folders() -> frozenset[Path]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    return frozenset(
        Path(folder).resolve()
        for folder in (*folders, *site.getsitepackages(), site.getusersitepackages())
    )


def _is_ours(path: Path) -> bool:
    """Tells whether `source_digest` has read a file."""
    for parent in _OURS:
        if parent in path.parents:
            return not path.relative_to(parent.parent).as_posix().startswith(_PRESENTATION)
    return False


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(found) for name, found in packages_distributions().items()}
