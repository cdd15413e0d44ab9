"""Where machine code is kept between processes, and what happens where it cannot be."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numba
from numba.core.caching import FunctionCache

from edgecloud_gym.simulator.compiled.pointers import address_of

SIMULATOR: Final = Path(__file__).parents[1]

# What a damaged file makes pickle, Numba and LLVM raise when they load it.
_DAMAGE: Final = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


def source_digest(folder: Path = SIMULATOR) -> str:
    """Identifies every source below a folder, by name and content.

    Numba's disk cache looks only at the file of the function that it caches, and would serve old
    machine code after a change in the modules that this one calls. All that compiled code reads
    lies below `SIMULATOR`.

    Raises:
        ImportError: If there are no sources: in a zip file, or after they were removed.
    """
    digest = hashlib.blake2b(digest_size=8)
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    if not paths:
        raise ImportError(
            f"edgecloud_gym compiles its simulator from its sources, and {folder} holds none: "
            "install the package unpacked and with its .py files, as pip does"
        )
    for path in paths:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class SourcedCache(FunctionCache):  # type: ignore[misc]
    """Numba's disk cache of a function, with a digest of sources in its key.

    For functions that are handed to us as they are; one that we build ourselves captures the
    digest, so that it is in Numba's own key.

    Raises:
        RuntimeError: If Numba finds no folder to write to.
    """

    def __init__(self, function: Callable[..., Any], sources: str) -> None:
        super().__init__(function)
        self._sources = sources

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), self._sources)


class CompiledFunction:
    """A function that is compiled for the types of its arguments, or loaded from the disk.

    Args:
        build: Given a digest of the sources and whether to use Numba's cache, returns the
            function as `numba.njit` makes it.
        folders: Where the sources lie that it calls, beside the simulator's own.

    Raises:
        ImportError: If Numba's compiler is switched off, or the sources are absent.
    """

    def __init__(self, build: Callable[[str, bool], Any], *folders: Path) -> None:
        if numba.config.DISABLE_JIT:
            raise ImportError(
                "NUMBA_DISABLE_JIT is set: edgecloud_gym's simulator has no form that is not "
                "compiled; unset it"
            )
        self._build = build
        self._sources = "".join(map(source_digest, (SIMULATOR, *folders)))
        self._function = self._cached()

    @property
    def signatures(self) -> list[tuple[Any, ...]]:
        """The argument types that there is machine code for."""
        return list(self._function.signatures)

    def compiled_for(self, arguments: Sequence[Any]) -> Callable[..., Any]:
        """Returns the function for arguments of these types, and for no others.

        It is the machine code's own entry: Numba's dispatcher, which looks at the type of each
        argument at each call, took two thirds of the time of a call. So nothing checks the types
        any more: arrays of another dtype or layout must not be handed to it.
        """
        function: Callable[..., Any] = self._overload(arguments).entry_point
        return function

    def address_for(self, arguments: Sequence[Any]) -> int:
        """Returns where the machine code for arguments of these types is; see `pointers.call`."""
        return address_of(self._overload(arguments))

    def _overload(self, arguments: Sequence[Any]) -> Any:
        types = tuple(numba.typeof(argument) for argument in arguments)
        try:
            self._function.compile(types)
        except _DAMAGE:  # a defect of ours comes up again below
            self._discard()
            self._function.compile(types)
        return self._function.overloads[types]

    def _cached(self) -> Any:
        """Makes the function with a cache, where a place can be found for one."""
        try:
            return self._build(self._sources, True)
        except RuntimeError:  # Numba found no folder to write to
            pass
        try:
            with _numba_cache_in(_own_temporary_folder()) as folder:
                function = self._build(self._sources, True)
        except (OSError, RuntimeError):
            warnings.warn(
                "No folder can be written to: the simulator is compiled anew in every process "
                "(some seconds). NUMBA_CACHE_DIR names one.",
                stacklevel=2,
            )
            return self._build(self._sources, False)
        warnings.warn(
            f"The package's folder cannot be written to: compiled code is kept in {folder}. "
            "NUMBA_CACHE_DIR names another place.",
            stacklevel=2,
        )
        return function

    def _discard(self) -> None:
        """Removes the files of a damaged cache and makes the function anew."""
        folder = Path(self._function.stats.cache_path or os.devnull)
        warnings.warn(f"Compiled code in {folder} is damaged: compiling anew.", stacklevel=3)
        name = self._function.__name__
        try:
            for path in folder.glob(f"*{name}*.nb[ci]"):
                path.unlink(missing_ok=True)
        except OSError:
            self._function = self._build(self._sources, False)
        else:
            self._function = self._cached()


@contextmanager
def _numba_cache_in(folder: Path) -> Iterator[Path]:
    """Lets Numba choose a folder for what is decorated in the block."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield folder
    finally:
        numba.config.CACHE_DIR = before


def _own_temporary_folder() -> Path:
    """Makes a folder that this user alone can write to: machine code is loaded from it.

    Raises:
        OSError: If it cannot be made, or is another user's.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"edgecloud_gym-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if user and (status.st_uid != user or status.st_mode & 0o022):
        raise OSError(f"{folder} is another user's")
    return folder
