"""Results are kept while, and only while, all that they depend on is as it was."""

import functools
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import Agent, AgentSpec, make_agent, run_experiment
from agents.experiments.identity.code import code_behind
from agents.experiments.identity.fingerprint import files_in, identify
from edgecloud_gym import RequestDataset
from edgecloud_gym.arrivals import Poisson, Trace
from tests.agents.experiments.forks import run_script

# An agent, its base in another file, what that imports, and a process of arrivals: each in a file
# of its own, as in a project of a user's.
FILES = {
    "script.py": """
import sys
import numpy as np
from agents import run_experiment
from edgecloud_gym import RequestDataset
from mine.agent import Mine
from mine.arrivals import Clock

if __name__ == "__main__":
    data = RequestDataset.from_arrays(base_latency=np.linspace(1.0, 2.0, 9))
    settings = dict(dataset=data, observe="id", duration=20.0, arrivals=Clock(0.5))
    played = []
    result = run_experiment(
        "EdgeCloud-Static-v0", [Mine], 1, settings, "out",
        progress=lambda progress: played.append(progress.run),
    )
    print(len(played) - 1, result.summary["jct_mean"][0])
""",
    "mine/__init__.py": "",
    "mine/agent.py": """
import numpy as np
from mine.base import Base

class Mine(Base):
    def act(self, observation, info, explore=True):
        return np.full(self.env.config.candidate_pool_size, self.place())
""",
    "mine/base.py": """
from agents import Agent
from . import places

class Base(Agent):
    def place(self):
        return places.chosen()
""",
    "mine/places.py": """
def chosen():
    import mine.deep as deep
    return deep.PLACE
""",
    "mine/deep.py": "PLACE = 1\n",
    "mine/arrivals.py": """
from dataclasses import dataclass
import numpy as np

@dataclass
class Clock:
    gap: float

    def sample(self, rng, rate, duration):
        return np.arange(0.0, duration, self.gap)
""",
    "mine/unused.py": "x = 1\n",
}
CHANGES = {
    "mine/agent.py": ("self.place())", "2)"),
    "mine/base.py": ("places.chosen()", "2"),
    "mine/places.py": ("deep.PLACE", "2"),
    "mine/deep.py": ("1", "2"),
    "mine/arrivals.py": ("self.gap)", "2 * self.gap)"),
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], tuple[int, float]]:
    """Writes the project; running it returns how many runs were played, and the mean JCT."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def run() -> tuple[int, float]:
        count, mean = run_script(tmp_path).split()
        return int(count), float(mean)

    return run


def test_changed_code_is_played_anew(run: Callable[[], tuple[int, float]], tmp_path: Path) -> None:
    first, mean = run()
    assert first == 1
    code = json.loads((tmp_path / "out" / "run.json").read_text())["code"]
    watched = {Path(path).relative_to(tmp_path.resolve()).as_posix() for path in code["watched"]}
    assert watched == {f"mine/{n}.py" for n in ("__init__", "agent", "base", "places", "deep")}
    assert "installed packages" in code["not watched"]
    for name, (old, new) in CHANGES.items():
        text = FILES[name]
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
        again, other = run()
        assert again == 1, name
        assert other != mean, name
        (tmp_path / name).write_text(text)
    (tmp_path / "mine" / "unused.py").write_text("x = 2\n")
    assert run() == (0, mean)  # what was played before is still there


GLOBALS = """
import numpy as np
import helper

PLACE = 1
TABLE = np.zeros(2000)
started = {}  # named by no code: may differ from start to start

class Mine:
    def act(self):
        return PLACE + TABLE[7] + helper.NODE
"""


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda mine, _: setattr(mine, "PLACE", 2), True),
        (lambda mine, _: mine.TABLE.__setitem__(1000, 1.0), True),
        (lambda _, helper: setattr(helper, "NODE", 2), True),
        (lambda mine, _: mine.started.update(now=3), False),
    ],
    ids=["number", "array", "attribute", "unused"],
)
def test_globals_that_code_names_count_by_their_values(
    change: Callable[[Any, Any], object],
    counts: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "owned.py").write_text(GLOBALS)
    (tmp_path / "helper.py").write_text("NODE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("owned", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    owned = importlib.import_module("owned")
    before = identify(owned.Mine)
    assert identify(owned.Mine) == before
    change(owned, owned.helper)
    assert (identify(owned.Mine) != before) == counts
    for name in ("owned", "helper"):
        monkeypatch.delitem(sys.modules, name)


def test_code_in_memory_counts_where_there_is_no_file() -> None:
    """As in a notebook, where a cell is run again after a change."""
    identities = []
    for place in (1, 1, 2):
        namespace: dict[str, Any] = {"__name__": "cell", "PLACE": place}
        exec("class Mine:\n    def act(self):\n        return helper()", namespace)
        exec("def helper():\n    return PLACE", namespace)
        identities.append(code_behind(namespace["Mine"]).identity())
    assert identities[0] == identities[1] != identities[2]


def test_what_another_layer_of_the_environment_has_installed_is_no_code_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lower" / "site-packages"
    site.mkdir(parents=True)
    (site / "layered.py").write_text("class Base:\n    pass\n")
    (tmp_path / "above.py").write_text("import layered\n\nclass Mine(layered.Base):\n    pass\n")
    for folder in (site, tmp_path):
        monkeypatch.syspath_prepend(folder)
    above = importlib.import_module("above")
    assert [Path(file).name for file in code_behind(above.Mine).files] == ["above.py"]
    for name in ("above", "layered"):
        monkeypatch.delitem(sys.modules, name)


def test_masked_arrays_count_by_content_and_mask() -> None:
    def identity(value: object) -> object:
        namespace: dict[str, Any] = {"__name__": "cell", "VALUE": value}
        exec("class Mine:\n    def act(self):\n        return VALUE", namespace)
        return code_behind(namespace["Mine"]).identity()

    one, other = (np.ma.masked_array([1.0, 2.0], mask) for mask in ([0, 1], [1, 0]))
    assert identity(one) == identity(one.copy()) != identity(other)
    assert identity(np.ma.masked) == identity(np.ma.masked)  # whose attributes cannot be set


def test_a_module_changed_in_memory_counts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file edited after its import is not what runs."""
    (tmp_path / "edited_later.py").write_text("class Mine:\n    def act(self):\n        return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_later  # type: ignore[import-not-found]

    before = code_behind(edited_later.Mine).identity()
    monkeypatch.setattr(edited_later.Mine, "act", lambda _: 2)
    assert code_behind(edited_later.Mine).identity() != before


def test_identities_tell_settings_apart() -> None:
    same = [RequestDataset.from_arrays(base_latency=[1.0, 2.0]) for _ in range(2)]
    assert identify(same[0]) == identify(same[1])
    assert identify(same[0]) != identify(RequestDataset.from_arrays(base_latency=[1.0, 2.5]))
    assert identify(Trace([1.0, 2.0])) == identify(Trace([1.0, 2.0]))
    assert identify(Trace([1.0, 2.0])) != identify(Trace([1.0, 3.0]))
    assert identify(np.arange(3)) != identify(np.arange(3.0))
    assert identify({"b", "a"}) == identify({"a", "b"})
    assert identify(np.random.default_rng(0)) != identify(np.random.default_rng(1))


class Bursts:
    """An arrival process that only has the method asked for, and a state."""

    def __init__(self, size: int) -> None:
        self.size = size

    def sample(self, rng: Any, rate: Any, duration: float) -> Any:
        del rng, rate
        return np.repeat(np.arange(0.0, duration, 10.0), self.size)


@dataclass
class Wrapped:
    inner: Any


def test_objects_are_their_class_and_their_state() -> None:
    assert identify(Bursts(2)) == identify(Bursts(2)) != identify(Bursts(3))
    assert identify(Wrapped(Bursts(2))) != identify(Wrapped(Bursts(3)))
    assert "code" in identify(Bursts(2))
    assert "code" not in identify(Poisson())  # ours: the package's own digest has it
    assert identify(Bursts(2).sample) != identify(Bursts(3).sample)


def test_functions_are_their_code_and_what_they_hold() -> None:
    def made(size: int) -> Callable[..., Any]:
        return lambda step=1: size + step

    assert identify(made(1)) == identify(made(1)) != identify(made(2))
    assert identify(functools.partial(made, 1)) != identify(functools.partial(made, 2))
    assert identify(len) != identify(max)


def made_agent(place: int) -> type[Agent]:
    """Makes one of several classes of one name, in one file."""

    class Made(Agent):
        def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
            del observation, info, explore
            return np.full(self.env.config.candidate_pool_size, place)

    return Made


def test_classes_made_by_a_function_are_told_apart() -> None:
    assert identify(made_agent(1)) == identify(made_agent(1)) != identify(made_agent(2))
    by_hand = [type("Hand", (made_agent(1),), {"place": place}) for place in (1, 1, 2)]
    assert identify(by_hand[0]) == identify(by_hand[1]) != identify(by_hand[2])
    data = RequestDataset.from_arrays(base_latency=np.linspace(1.0, 2.0, 9))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    specs = [AgentSpec(made_agent(place), label=f"to {place}") for place in (1, 2)]
    summary = run_experiment("EdgeCloud-Static-v0", specs, 1, settings, None).summary
    assert summary["jct_mean"].nunique() == 2


class Reading(Bursts):
    """Reads its times from a file, each time anew."""

    def __init__(self, path: str) -> None:
        super().__init__(1)
        self.path = path

    def sample(self, rng: Any, rate: Any, duration: float) -> Any:
        return super().sample(rng, rate, duration) + float(Path(self.path).read_text())


def test_files_that_settings_name_are_watched(tmp_path: Path) -> None:
    data = RequestDataset.from_arrays(base_latency=np.ones(9))
    (tmp_path / "shift.txt").write_text("0.5")
    settings = {"dataset": data, "observe": "id", "duration": 20.0, "work_conserving": True}
    settings["arrivals"] = Reading(str(tmp_path / "shift.txt"))
    spec = AgentSpec("cn-ts", {"hidden": [8]})
    assert files_in({"a": [str(tmp_path / "shift.txt"), "x", 7], "b": spec}) == [
        str(tmp_path / "shift.txt")
    ]
    first = []
    for shift in ("0.5", "0.75"):
        (tmp_path / "shift.txt").write_text(shift)
        result = run_experiment("EdgeCloud-Static-v0", "fcfs", 1, settings, tmp_path / "out")
        first.append(result.requests["arrival_time"][0])
    assert first == [0.5, 0.75]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be a setting"):
        identify(item for item in ())
    endless = Bursts(1)
    endless.size = endless  # type: ignore[assignment]
    with pytest.raises(TypeError, match="contains itself"):
        identify(endless)


def test_agents_have_a_repr() -> None:
    assert repr(make_agent("fcfs")) == "FCFS()"
    assert repr(make_agent("historical-lrt", memory=7)) == "HistoricalLRT(initial=0.001, memory=7)"
