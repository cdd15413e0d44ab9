"""Whose times agents know: what to tell who plays one dataset with what belongs to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.checkpoint import read_header
from agents.experiments.design.spec import AgentSpec
from agents.experiments.identity.fingerprint import identify
from agents.prediction import load_predictor
from agents.registry import LEARNERS
from agents.schedulers.index_settings import BUNDLED, load_index
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym.dataset import RequestDataset, bundled_datasets
from edgecloud_gym.wording import shown

INDICES = ("index", "index-aged")


class _Source(NamedTuple):
    """What an agent knows: of which dataset, what that is, and how to make it of another."""

    dataset: Any
    what: str
    instead: str


def foreign_notes(specs: Sequence[AgentSpec], data: RequestDataset) -> list[str]:
    """Returns a note for each agent that knows the times of another dataset than it is to meet.

    Args:
        specs: The agents.
        data: The dataset, before a trace orders it anew.
    """
    return [note for spec in specs for note in _notes(spec.label, _sources(spec), data)]


def predictor_notes(label: str, predictor: Any, data: RequestDataset) -> list[str]:
    """Returns a note if a predictor that is given to an agent was fitted to another dataset."""
    return [] if predictor is None else _notes(label, _predictor(predictor), data)


def _notes(label: str, sources: Iterator[_Source], data: RequestDataset) -> list[str]:
    return [
        f"{label}: its {source.what} of dataset {_named(source.dataset)!r}, not of "
        f"{shown(data.name)}, whose times may be others; {source.instead}."
        for source in sources
        if not _is_of(source.dataset, data)
    ]


def _sources(spec: AgentSpec) -> Iterator[_Source]:
    """Yields what an agent knows, as far as its files tell."""
    given = spec.settings
    if spec.name in POLICIES:
        own = [] if given.get("model") or spec.checkpoint else spec.made.own_files()
        files = [Path(str(name)) for name in (given.get("model"), spec.checkpoint) if name]
        instead = f"`edgecloud train {spec.name} --dataset` makes one to name in evaluate"
        for path in [*files, *own][:1]:
            yield _Source(_trained_on(read_header(path)["training"]), "model is", instead)
    elif spec.name in LEARNERS and spec.checkpoint:
        found = _trained_on(read_header(Path(spec.checkpoint))["training"])
        yield _Source(found, "model is", f"`edgecloud train {spec.name} --dataset` makes one")
    if spec.name in INDICES:
        yield from _tuned(given.get("tuned"))
    if given.get("predictor") is not None:
        yield from _predictor(given["predictor"])


def _predictor(given: Any) -> Iterator[_Source]:
    """Yields on which dataset a predictor was fitted."""
    instead = "`edgecloud train predictor --dataset` makes one"
    yield _Source(_trained_on(load_predictor(given).training), "predictor is", instead)


def _tuned(given: Any) -> Iterator[_Source]:
    """Yields on which dataset an index policy was tuned; the bundled ones are all of one."""
    path = next(iter(sorted(BUNDLED.glob("*.json"))), None) if given is None else given
    if path is None:
        return
    training = load_index(path).training
    found = training.get("dataset") or training.get("definition", {}).get("settings", {}).get(
        "dataset"
    )
    instead = "`edgecloud train index --dataset` tunes one, for index:tuned=FILE"
    yield _Source(found, "numbers are", instead)


def _trained_on(training: Mapping[str, Any] | None) -> Any:
    return ((training or {}).get("settings") or {}).get("dataset")


def _is_of(found: Any, data: RequestDataset) -> bool:
    """Tells whether a record names a dataset, or none."""
    if found is None:
        return True
    if isinstance(found, Mapping):
        return bool(found == identify(data))
    return bool(found == data.name) and (data.is_bundled or found not in bundled_datasets())


def _named(found: Any) -> str:
    return str(found["dataset"] if isinstance(found, Mapping) else found)
