"""Nodes from files are those that Python would make; what is wrong is named with file and node."""

import json
from pathlib import Path

import pytest

from edgecloud_gym import load_engine
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.node_files import load_nodes
from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches

NUMBERS = {"step_overhead": 1e-3, "step_floor": 0.01, "token_time": 1e-5, "context_time": 0.0}
YAML = """
nodes:
  - {kind: engine, name: bundled, model: smollm2-135m-cpu, backlog: 16}
  - kind: engine
    name: own
    network_rtt: 0.01
    model: {step_overhead: 1e-3, step_floor: 0.01, token_time: 1e-5, context_time: 0, sequences: 4}
  - {kind: engine, name: file, model: sub/mine.json}
  - {kind: static-batches, name: batches, batches: 2, capacity: 3, slowdown: [1.0, 1.5, 2]}
  - {kind: sequences, name: sequences, sequences: 4, slowdown: null}
  - {kind: slots, name: cloud, slots: 64}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    model = load_engine("smollm2-135m-cpu")
    model.save(tmp_path / "sub" / "mine.json")
    nodes = load_nodes(write(tmp_path / "c.yaml", YAML))
    assert nodes == (
        Engine("bundled", model="smollm2-135m-cpu", backlog=16),
        Engine("own", model=nodes[1].engine, network_rtt=0.01),  # type: ignore[attr-defined]
        Engine("file", model=model),
        StaticBatches("batches", batches=2, capacity=3, slowdown=(1.0, 1.5, 2.0)),
        Sequences("sequences", sequences=4, slowdown=None),
        Slots("cloud", slots=64),
    )
    assert nodes[1].services == 4
    assert nodes[1].engine.token_time == 1e-5  # type: ignore[attr-defined]


def test_json_says_the_same(tmp_path: Path) -> None:
    items = [
        {"kind": "engine", "name": "a", "model": {**NUMBERS, "sequences": 4}},
        {"kind": "slots", "name": "b"},
    ]
    for name, content in (("a.json", items), ("b.json", {"nodes": items}), ("c.yml", items)):
        nodes = load_nodes(write(tmp_path / name, json.dumps(content)))
        assert [node.name for node in nodes] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must hold a list of nodes, got nothing"),
        ("nodes: 3", "must hold a list of nodes, got an int"),
        ("nodes: []", "at least one node"),
        ("- 3", "node 1: must be a mapping, got an int"),
        ("- {name: a}", "node 1: has no kind; must be one of engine, static-batches"),
        ("- {kind: slots}", "node 1: slots needs the field 'name'"),
        ("- {kind: engine, name: a}", "node 1: engine needs the field 'model'"),
        ("- {kind: slotz, name: a}", "kind='slotz'.*did you mean 'slots'"),
        ("- {kind: slots, name: a, slot: 3}", "slots has no field 'slot'.*did you mean 'slots'"),
        ("- {kind: slots, name: a, slots: -3}", "node 'a': slots=-3"),
        ("- {kind: slots, name: a, slots: .nan}", "node 'a': slots=nan"),
        ("- {kind: engine, name: a, model: b200}", "node 1: .*'b200': must be one of .*h100"),
        ("- {kind: engine, name: a, model: {sequences: 3}}", "node 1: key 'step_overhead' is miss"),
        (
            "- {kind: engine, name: a, model: no.json}",
            "node 1: node 'a': model='.*no.json': there is no such file",
        ),
        ("- {kind: slots, name: a}\n- {kind: slots, name: a}", "2 are named 'a'"),
        ("- {kind: slots, name: a, name: b}", "a key occurs twice"),
        ("nodes: [", "not YAML"),
        ("- !!python/object:os.system {}", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "cluster.yaml", text)
    with pytest.raises(UnreadableFileError, match=rf"(?s)cluster\.yaml.*{message}"):
        load_nodes(path)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"ends in one of \.json, \.yaml, \.yml"):
        load_nodes(write(tmp_path / "c.txt", "[]"))
    with pytest.raises(UnreadableFileError, match="not JSON"):
        load_nodes(write(tmp_path / "c.json", "["))
    with pytest.raises(FileNotFoundError):
        load_nodes(tmp_path / "none.yaml")
