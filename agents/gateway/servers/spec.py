"""The servers behind a gateway, from the file that lists the nodes of a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.node_files import read_node_file
from edgecloud_gym.nodes import Node, StaticBatches

_ADDRESS: Final = (
    "must be http:// or https://, a host and perhaps a port and a path, "
    "such as http://127.0.0.1:8080, http://[::1]:8080 or https://api.example.com/v1"
)
_HOST: Final = re.compile(rb"[\w-]+(\.[\w-]+)*\.?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class ServerSpec:
    """A server that speaks the OpenAI API.

    Attributes:
        node: What the gateway believes of it: how fast it is, how many requests it takes.
        url: Its address, without ``/v1``.
        serves: What it calls the model; None where it has the name that clients use.
        api_key: The key that it asks for, from the environment; empty for none.
    """

    node: Node
    url: str
    serves: str | None = None
    api_key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


@dataclass(frozen=True)
class ClusterFile:
    """What a file says of a cluster of real servers.

    Attributes:
        servers: The servers, in order.
        model: What clients call the model; None to take the names that all servers know.
    """

    servers: tuple[ServerSpec, ...]
    model: str | None = None


def load_cluster(path: Path, environment: Mapping[str, str] = os.environ) -> ClusterFile:
    """Loads a cluster of real servers.

    The file is that of `load_nodes`. Beside the fields of its kind each node has ``url``, and
    perhaps ``serves`` (what the server calls the model) and ``api_key_env`` (the environment
    variable with its key). Keys themselves have no place in it.

    Raises:
        UnreadableFileError: If it holds something else; the file, the node and the field are named.
        OSError: If it cannot be read.
    """
    nodes, found, model = read_node_file(path)
    if model is not None and (not isinstance(model, str) or not model):
        raise UnreadableFileError(f"{path}: model={model!r}: must be the name that clients use")
    servers = []
    for node, fields in zip(nodes, found, strict=True):
        try:
            servers.append(_server(node, fields, environment))
        except (TypeError, ValueError) as error:
            raise UnreadableFileError(f"{path}: node {node.name!r}: {error}") from error
    return ClusterFile(tuple(servers), model)


def _server(node: Node, fields: Mapping[str, Any], environment: Mapping[str, str]) -> ServerSpec:
    if isinstance(node, StaticBatches):
        raise ValueError(
            "kind: servers gather their batches by themselves: must be engine, sequences or slots"
        )
    if not node.services:
        raise ValueError(f"{node.places}=0: a server must take at least one request")
    if not node.name.isprintable() or node.name != node.name.strip():  # answers have it in a header
        raise ValueError(
            "name: must hold no line break or other control character, nor end in blanks"
        )
    if "url" not in fields:
        raise ValueError(f"has no url: {_ADDRESS}")
    serves = fields.get("serves")
    if serves is not None and (not isinstance(serves, str) or not serves):
        raise TypeError(f"serves={serves!r}: must be the name that the server has for the model")
    key = _key(fields.get("api_key_env"), environment)
    return ServerSpec(node, _checked_url(fields["url"]), serves, key)


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"url={url!r}: {_ADDRESS}")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.port != 0 and _is_host(parts)
    except ValueError:  # of a port, a host name or an IPv6 address that is none
        valid = False
    if "@" in url and not (valid and "@" not in parts.netloc):  # it may hold a password
        raise ValueError("url: must hold no user or password; api_key_env names where a key is")
    if not valid or not url.isprintable() or any(mark in url for mark in " ?#"):
        raise ValueError(f"url={url!r}: {_ADDRESS}")
    return url.rstrip("/").removesuffix("/v1")


def _is_host(parts: SplitResult) -> bool:
    """Returns whether there is a host; raises ValueError if what is there could be none."""
    name = parts.hostname or ""
    if "[" in parts.netloc:
        return bool(IPv6Address(name))
    return _HOST.fullmatch(name.encode("idna")) is not None  # as it is when it is looked up


def _key(variable: object, environment: Mapping[str, str]) -> str:
    if variable is None:
        return ""
    if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
        # What is no name may be the key itself: it is not repeated.
        raise ValueError("api_key_env: must be the name of an environment variable")
    if not environment.get(variable):
        raise ValueError(f"api_key_env={variable!r}: this environment variable is not set")
    if not environment[variable].isprintable():  # as one read from a file with its line break
        raise ValueError(
            f"api_key_env={variable!r}: its key holds a line break or another control character"
        )
    return environment[variable]
