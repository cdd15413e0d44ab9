"""Nodes as mappings, and files of them: a list with a mapping per node, in YAML or JSON."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.files import UnreadableFileError, decoded_json, read_text
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches, checked_nodes
from edgecloud_gym.wording import shown

KINDS: Final[Mapping[str, type[Node]]] = {
    "engine": Engine,
    "static-batches": StaticBatches,
    "sequences": Sequences,
    "slots": Slots,
}
_JSON: Final = ".json"
_YAML: Final = (".yaml", ".yml")
# What a gateway reads of real servers beside their nodes (`agents.gateway.servers.spec`).
SERVER_FIELDS: Final = ("url", "serves", "api_key_env")
# A number of YAML 1.2, which PyYAML, of version 1.1, takes for text.
_EXPONENT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def load_nodes(path: str | os.PathLike[str]) -> tuple[Node, ...]:
    """Loads the nodes of a cluster.

    The file holds a list, or a mapping with the key ``nodes``. Each node is a mapping: its
    ``kind`` (engine, static-batches, sequences, slots) and the fields of that class of
    `edgecloud_gym.nodes`. An engine's ``model`` is the name of a bundled one, the path of a JSON
    file, relative to this one, or a mapping with the fields of an `EngineModel`. What a gateway
    needs to know of real servers (``model`` beside ``nodes``, `SERVER_FIELDS` of a node) may be
    there and is passed over.

    Args:
        path: A file that ends in .yaml, .yml or .json.

    Raises:
        UnreadableFileError: If it holds something else; the file, the node and the field are named.
        OSError: If it cannot be read.
        ModuleNotFoundError: If it is YAML and PyYAML is not installed.
    """
    return read_node_file(path)[0]


def read_node_file(
    path: str | os.PathLike[str],
) -> tuple[tuple[Node, ...], list[dict[str, Any]], object]:
    """Reads a file of nodes with what it says of real servers.

    Returns:
        The nodes; of each the `SERVER_FIELDS` that it has, as they stand there; the ``model``
        beside ``nodes``, None if there is none.

    Raises:
        UnreadableFileError: See `load_nodes`.
        OSError: If it cannot be read.
        ModuleNotFoundError: If it is YAML and PyYAML is not installed.
    """
    file = Path(path)
    content = _content(file)
    served = None
    if isinstance(content, Mapping) and {*content} <= {"nodes", "model"} and "nodes" in content:
        served = content.get("model")
        content = content["nodes"]
    nodes = read_nodes(content, file)
    servers = [{n: item[n] for n in SERVER_FIELDS if n in item} for item in content]
    return nodes, servers, served


def read_nodes(content: object, file: Path) -> tuple[Node, ...]:
    """Makes nodes of what a file says of them; see `load_nodes`.

    Args:
        content: A list of mappings.
        file: Where it stands.

    Raises:
        UnreadableFileError: If it is something else; the file, the node and the field are named.
    """
    if not isinstance(content, list):
        raise UnreadableFileError(f"{file}: must hold a list of nodes, got {_named(content)}")
    try:
        return checked_nodes(
            [_node(f"{file}, node {n}", file.parent, item) for n, item in enumerate(content, 1)]
        )
    except UnreadableFileError:
        raise
    except (TypeError, ValueError) as error:
        raise UnreadableFileError(f"{file}: {error}") from error


def nodes_of(nodes: object) -> tuple[Node, ...]:
    """Returns nodes of which some may be given as mappings, as `load_nodes` reads them.

    Raises:
        TypeError: If they are no sequence of nodes or mappings.
        ValueError: If a mapping is wrong, or nodes do not go together.
    """
    given: Any = nodes
    if isinstance(nodes, Sequence) and not isinstance(nodes, str):
        given = [
            _node(f"nodes: {n}", Path(), item) if isinstance(item, Mapping) else item
            for n, item in enumerate(nodes, 1)
        ]
    return checked_nodes(given)


def mapping_of(node: Node) -> dict[str, Any]:
    """Returns a node as a mapping of JSON values, which `nodes_of` and `load_nodes` read."""
    (kind,) = (name for name, made in KINDS.items() if made is type(node))
    fields = {item.name: getattr(node, item.name) for item in dataclasses.fields(node)}
    if isinstance(node, Engine) and isinstance(node.model, EngineModel):
        fields["model"] = node.model.to_dict()
    shown = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in fields.items()}
    return {"kind": kind, **{n: str(v) if isinstance(v, Path) else v for n, v in shown.items()}}


def _content(file: Path) -> Any:
    if file.suffix.casefold() not in (_JSON, *_YAML):
        known = ", ".join((_JSON, *_YAML))
        raise UnreadableFileError(f"{file}: a file of nodes ends in one of {known}")
    text = read_text(file)
    if file.suffix.casefold() == _JSON:
        try:
            return decoded_json(text)
        except ValueError as error:
            raise UnreadableFileError(f"{file}: not JSON: {error}") from error
    import yaml

    try:
        return yaml.load(text, Loader=_loader(yaml))
    except yaml.YAMLError as error:
        raise UnreadableFileError(f"{file}: not YAML: {' '.join(str(error).split())}") from error


def _loader(yaml: Any) -> Any:
    """Returns YAML's safe loader, but that 1e-5 is a number and no key may occur twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            mapping = super().construct_mapping(node, deep=deep)
            if len(mapping) < len(node.value):
                raise yaml.YAMLError(f"a key occurs twice in one mapping, {node.start_mark}")
            return mapping

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789."))
    return Loader


def _node(where: str, folder: Path, item: Any) -> Node:
    if not isinstance(item, Mapping):
        raise UnreadableFileError(f"{where}: must be a mapping, got {_named(item)}")
    fields = {name: value for name, value in item.items() if name not in SERVER_FIELDS}
    if "kind" not in fields:
        raise UnreadableFileError(f"{where}: has no kind; must be one of {', '.join(KINDS)}")
    kind = fields.pop("kind")
    made: Any = KINDS.get(str(kind).replace("_", "-").replace(" ", "-"))
    if made is None:
        hint = did_you_mean(str(kind), KINDS)
        raise UnreadableFileError(
            f"{where}: kind={shown(kind)}: must be one of {', '.join(KINDS)}{hint}"
        )
    known = [field.name for field in dataclasses.fields(made)]
    for field in dataclasses.fields(made):
        if field.default is dataclasses.MISSING and field.name not in fields:
            raise UnreadableFileError(f"{where}: {kind} needs the field {field.name!r}")
    for name in fields:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise UnreadableFileError(
                f"{where}: {kind} has no field {shown(name)}{hint}; it takes: {', '.join(known)}"
            )
    try:
        if "model" in fields:
            fields["model"] = _model(folder, fields["model"])
        node: Node = made(**{n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()})
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise UnreadableFileError(f"{where}: {error}") from error
    return node


def make_node(fields: Mapping[str, Any]) -> Node:
    """Makes a node of a mapping, as a file has it.

    Raises:
        UnreadableFileError: If it is none; the field is named.
    """
    return _node("node", Path(), fields)


def _model(folder: Path, model: Any) -> Any:
    if isinstance(model, Mapping):
        return EngineModel.from_dict(model)
    if isinstance(model, str) and model.endswith(_JSON):
        return folder / model
    return model


def _named(value: object) -> str:
    kind = type(value).__name__
    return "nothing" if value is None else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
