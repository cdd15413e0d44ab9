"""Machine code on the disk: made anew where it is stale, damaged or has no place."""

import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest

from edgecloud_gym.simulator.compiled.cache import CompiledFunction, SourcedCache, source_digest

SOURCE = """
import numba

def build(sources, cache):
    @numba.njit(cache=cache)
    def double(values):
        sources
        for i in range(len(values)):
            values[i] *= 2
    return double
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """A module whose compiled function is kept beside it."""
    path = tmp_path / "doubling.py"
    path.write_text(SOURCE)
    yield load(path)
    del sys.modules["doubling"]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found  # where Numba looks for what it loads
    spec.loader.exec_module(found)
    return found


def doubled(function: CompiledFunction) -> list[float]:
    values = np.array([1.0, 2.0])
    function.compiled_for((values,))(values)
    return values.tolist()


def kept(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{ending}"))


def test_a_second_process_loads_what_the_first_has_compiled(module: ModuleType) -> None:
    folder = Path(module.__file__ or "").parent
    assert doubled(CompiledFunction(module.build)) == [2.0, 4.0]
    (made,) = kept(folder, "nbc")
    before = made.stat().st_mtime_ns
    assert doubled(CompiledFunction(load(Path(module.__file__ or "")).build)) == [2.0, 4.0]
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage"], ids=["empty", "text"])
def test_a_damaged_cache_is_replaced(module: ModuleType, ending: str, content: bytes) -> None:
    folder = Path(module.__file__ or "").parent
    doubled(CompiledFunction(module.build))
    (damaged,) = kept(folder, ending)
    damaged.write_bytes(content)
    again = CompiledFunction(load(Path(module.__file__ or "")).build)
    with pytest.warns(UserWarning, match="damaged: compiling anew"):
        assert doubled(again) == [2.0, 4.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once: it is mended
        assert doubled(CompiledFunction(load(Path(module.__file__ or "")).build)) == [2.0, 4.0]


@pytest.fixture
def nowhere(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, where neither its own folder nor the user's cache can be written to."""
    path = Path(module.__file__ or "")
    cache = path.parent / "__pycache__"
    for item in cache.iterdir() if cache.is_dir() else []:
        item.unlink()
    if cache.is_dir():
        cache.rmdir()
    cache.write_text("a file, where Numba needs a folder")
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    return module


def test_without_a_place_beside_it_the_cache_goes_to_a_temporary_folder(
    nowhere: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="compiled code is kept in"):
        function = CompiledFunction(nowhere.build)
    assert doubled(function) == [2.0, 4.0]
    (folder,) = tmp_path.glob("edgecloud_gym-*")
    assert folder.stat().st_mode & 0o077 == 0
    assert kept(folder, "nbc")
    assert numba.config.CACHE_DIR == ""  # what others decorate is theirs to place


def test_without_any_place_it_is_compiled_in_memory(
    nowhere: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/temporary")
    with pytest.warns(UserWarning, match="compiled anew in every process"):
        function = CompiledFunction(nowhere.build)
    assert doubled(function) == [2.0, 4.0]


def test_the_digest_knows_every_source(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    source = tmp_path / "deep" / "new.py"
    source.write_text("a = 1\n")
    first = source_digest(tmp_path)
    source.write_text("a = 2\n")
    second = source_digest(tmp_path)
    source.rename(tmp_path / "deep" / "renamed.py")
    assert len({first, second, source_digest(tmp_path)}) == 3


def test_an_install_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"with its \.py files"):
        source_digest(tmp_path)
    with pytest.raises(ImportError, match="unpacked"):
        source_digest(tmp_path / "package.zip" / "simulator")


def test_a_compiler_that_is_switched_off_is_said(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(ImportError, match="NUMBA_DISABLE_JIT is set"):
        CompiledFunction(module.build)


def run_without_jit() -> subprocess.CompletedProcess[str]:
    code = "import gymnasium, edgecloud_gym; gymnasium.make('EdgeCloud-Static-v0')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"NUMBA_DISABLE_JIT": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_user_with_the_compiler_off_is_told_what_to_do() -> None:
    result = run_without_jit()
    assert result.returncode == 1
    assert "unset it" in result.stderr.splitlines()[-1]


PLAIN = """
def double(values):
    for i in range(len(values)):
        values[i] *= 2
"""


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[ModuleType]:
    """A module with a function as users write it, which knows of no digest."""
    path = tmp_path / "plain_doubling.py"
    path.write_text(PLAIN)
    yield load(path)
    del sys.modules["plain_doubling"]


def kept_function(module: ModuleType) -> CompiledFunction:
    """The module's function, kept until a source of its folder changes."""

    def build(sources: str, cache: bool) -> object:
        dispatcher = numba.njit(module.double)
        if cache:
            dispatcher._cache = SourcedCache(module.double, sources)
        return dispatcher

    return CompiledFunction(build, Path(module.__file__ or "").parent)


def test_a_function_as_it_is_is_kept_until_a_source_that_it_may_call_changes(
    plain: ModuleType,
) -> None:
    folder = Path(plain.__file__ or "").parent
    assert doubled(kept_function(plain)) == [2.0, 4.0]
    again = kept_function(plain)
    assert doubled(again) == [2.0, 4.0]
    assert sum(again._function.stats.cache_hits.values()) == 1
    (folder / "other.py").write_text("changed = True\n")
    anew = kept_function(plain)
    assert doubled(anew) == [2.0, 4.0]
    assert not anew._function.stats.cache_hits
