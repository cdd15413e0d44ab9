"""What the suite consists of: frozen files of scenarios, read as they are.

A *cell* is an environment with its settings and a number of seeds. Cells of one kind are a *group*,
which has a file of its own; ``suite.json`` names the groups and what holds for all. A version that
has been published never changes: what is to be different is a new version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from agents.experiments.design.replay import replay
from agents.experiments.design.scenario import Scenario
from edgecloud_gym.arrivals import MMPP
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.files import read_json
from edgecloud_gym.node_files import read_nodes
from edgecloud_gym.wording import shown

SUITES: Final = Path(__file__).parents[1] / "assets" / "suite"
VERSION: Final = 1
_INDEX: Final = "suite.json"


@dataclass(frozen=True)
class Cell:
    """One scenario of the suite.

    Attributes:
        name: ``"group/cell"``.
        env_id: Gymnasium id.
        settings: Keyword arguments of `gymnasium.make`.
        learn: Whether agents may learn while they play.
        trained: Whether agents that start from zero are trained before.
        seeds: The seeds.
        known_families: What the agents know from training is of these families of prompts alone;
            ``None``: of all.
        trace: The workload trace that is replayed, by the name of the option that gives its file;
            empty for none.
    """

    name: str
    env_id: str
    settings: Mapping[str, Any]
    learn: bool
    trained: bool
    seeds: tuple[int, ...]
    known_families: tuple[str, ...] | None = None
    trace: str = ""

    @property
    def group(self) -> str:
        """The name of its group."""
        return self.name.partition("/")[0]

    def scenario(self, dataset: str | RequestDataset, traces: Mapping[str, Path]) -> Scenario:
        """Returns what is played.

        Args:
            dataset: The suite's.
            traces: Files of workload traces.

        Raises:
            OSError: If a trace cannot be read.
            ValueError: If it is none.
        """
        settings = {**self.settings, "dataset": dataset}
        if self.trace:
            settings |= replay(
                traces[self.trace],
                load_dataset(dataset),
                split=settings["split"],
                duration=settings["duration"],
                own_times=False,
            ).settings
        return Scenario(self.env_id, settings, self.name)


@dataclass(frozen=True)
class Suite:
    """A version of the suite.

    Attributes:
        version: Its number.
        quick: Whether it is cut down to a trial, whose results compare with nothing.
        dataset: Whose prompts arrive.
        digest: Identifies the files, but for who plays by default.
        cells: The scenarios, in order.
        about: What each group is, in a sentence.
        skipped: Groups that are not played, and why.
        partial: Whether it was cut down to some scenarios or seeds.
        zeros: The agent whose share of the gap is 0, by environment; of all others under "".
        one: Agents whose share may be 1: the first that there is.
        training: How agents that start from zero are trained.
        agents: Who plays by default, where there is such an agent.
        bad: Agents that are bad on purpose.
    """

    version: int
    quick: bool
    dataset: str
    digest: str
    cells: tuple[Cell, ...]
    about: Mapping[str, str]
    zeros: Mapping[str, str]
    one: tuple[str, ...]
    training: Mapping[str, Any]
    agents: tuple[str, ...]
    bad: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"v{self.version}{' (quick)' if self.quick else ''}"

    def cell(self, name: str) -> Cell:
        """Returns a cell by its name.

        Raises:
            ValueError: If there is none.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        why = self.skipped.get(name.partition("/")[0])
        if why is not None:
            raise ValueError(f"scenario {shown(name)}: {why}")
        names = [cell.name for cell in self.cells]
        groups = list(dict.fromkeys(cell.group for cell in self.cells))
        raise ValueError(
            f"scenario {shown(name)}: must be one of the groups {', '.join(groups)}, or a scenario "
            f"of theirs, such as {names[0]}{did_you_mean(name, [*groups, *names])}; `edgecloud "
            "bench-suite --list` shows all"
        )

    def zero(self, cell: Cell) -> str:
        """Returns the agent whose share of the gap is 0 in a cell."""
        return self.zeros.get(cell.env_id, self.zeros[""])

    def first_seeds(self, count: int) -> Suite:
        """Returns the suite with the first so many seeds of each cell."""
        cells = tuple(replace(cell, seeds=cell.seeds[:count]) for cell in self.cells)
        return replace(self, cells=cells, partial=True)

    def select(self, wanted: Iterable[str]) -> Suite:
        """Returns the part that consists of some groups and cells; of all if none is named.

        Raises:
            ValueError: If there is no such group or cell.
        """
        names = list(wanted)
        if not names:
            return self
        for name in names:
            if name not in self.about:
                self.cell(name)
        cells = [cell for cell in self.cells if cell.name in names or cell.group in names]
        return replace(self, cells=tuple(cells), partial=True)

    def with_traces(self, traces: Iterable[str]) -> Suite:
        """Leaves out what replays a trace that is not given, and says so."""
        given = set(traces)
        lacking = {c.group: c.trace for c in self.cells if c.trace and c.trace not in given}
        skipped = {
            group: f"replays a trace that is not part of the package; --{trace} FILE gives it"
            for group, trace in lacking.items()
        }
        cells = tuple(cell for cell in self.cells if cell.group not in lacking)
        return replace(self, cells=cells, skipped={**self.skipped, **skipped})


def load_suite(version: int = VERSION, *, quick: bool = False) -> Suite:
    """Loads a version of the suite.

    Args:
        version: Its number.
        quick: Whether to cut it down to a trial of seconds.

    Raises:
        ValueError: If there is no such version.
    """
    folder = SUITES / f"v{version}"
    if not (folder / _INDEX).is_file():
        known = sorted(path.name for path in SUITES.glob("v*"))
        raise ValueError(f"version={version!r}: must be one of {', '.join(known)}")
    index = read_json(folder / _INDEX)
    groups = {name: read_json(folder / f"{name}.json") for name in index["groups"]}
    cells = [
        _cell(folder, name, group, item)
        for name, group in groups.items()
        for item in group["cells"]
    ]
    suite = Suite(
        version=int(index["version"]),
        quick=quick,
        dataset=index["dataset"],
        digest=_digest({**index, "agents": []}, groups),
        cells=tuple(cells),
        about={name: group["about"] for name, group in groups.items()},
        zeros=index["zero"],
        one=tuple(index["one"]),
        training=index["training"],
        agents=tuple(index["agents"]),
        bad=tuple(index["bad"]),
    )
    return _cut_down(suite, index["quick"]) if quick else suite


def _cut_down(suite: Suite, quick: Mapping[str, Any]) -> Suite:
    part = suite.select(quick["cells"])
    cells = tuple(
        replace(
            cell,
            settings={**cell.settings, "duration": quick["duration"]},
            seeds=cell.seeds[: quick["seeds"]],
        )
        for cell in part.cells
    )
    training = {**suite.training, "duration": quick["duration"], "episodes": quick["episodes"]}
    return replace(part, cells=cells, agents=tuple(quick["agents"]), training=training)


def _cell(folder: Path, name: str, group: Mapping[str, Any], item: Mapping[str, Any]) -> Cell:
    settings = {**group["settings"], **item["settings"]}
    if "nodes" in settings:
        settings["nodes"] = read_nodes(settings["nodes"], folder / f"{name}.json")
    if isinstance(settings.get("arrivals"), Mapping):
        ((kind, arguments),) = settings["arrivals"].items()
        assert kind == "mmpp"  # all that there is so far
        settings["arrivals"] = MMPP(tuple(arguments["rates"]), tuple(arguments["dwell"]))
    known = group.get("known_families")
    return Cell(
        name=f"{name}/{item['name']}",
        env_id=item["env"],
        settings=settings,
        learn=bool(group["learn"]),
        trained=bool(group.get("trained", True)),
        seeds=tuple(range(int(group["seeds"]))),
        known_families=None if known is None else tuple(known),
        trace=group.get("trace", ""),
    )


def _digest(*content: Mapping[str, Any]) -> str:
    """Identifies what files say; how it is laid out there does not matter."""
    return blake2b(json.dumps(content).encode(), digest_size=10).hexdigest()
