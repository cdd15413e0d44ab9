"""``edgecloud serve``: an agent routes the requests that real servers answer."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.base import Agent
from agents.cli.shared.options import DATASET, Dataset, Settings, Trust
from agents.cli.shared.reading import (
    agent_kinds,
    check_trust,
    read_name,
    read_settings,
    require_trust,
    setting_kinds,
)
from data_tools.cli.console import fail, reading_input, reporting, warn
from data_tools.cli.options import path_option
from edgecloud_gym.files import check_writable

if TYPE_CHECKING:
    from agents.gateway.decisions import Player
    from agents.gateway.encoding import Encoder
    from agents.gateway.servers.spec import ClusterFile

_SWITCH = 5e-4  # s that a decision may keep tokens from passing, a tenth of what is usual
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    nodes: Annotated[
        Path,
        path_option(
            "--nodes",
            help="File of the servers, .yaml or .json: nodes as of compare, each with its url.",
            show_default=False,
        ),
    ],
    agent: Annotated[
        str,
        typer.Option(help="Who routes: an agent as of compare, or the file of a trained one."),
    ] = "join-shortest-queue",
    shadow: Annotated[
        str | None,
        typer.Option(
            help="Agent that is asked what it would have done, and only asked.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = LOOPBACK[0],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            help="Environment variable with the key that clients must send.", show_default=False
        ),
    ] = None,
    trust: Trust = False,
    learn: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Whether the agent goes on learning.")
    ] = True,
    save: Annotated[
        Path | None,
        path_option(
            help="File that what the agent has learnt is saved to, every minute and at the end.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        Path | None,
        path_option(
            help="Folder of a log of requests and decisions; `edgecloud replay` reads it.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seeds what the agent draws.")] = 0,
    dataset: Dataset = DATASET,
    settings: Settings = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="KEY=VALUE",
            help="What is allowed: queue (requests), body (bytes), prompt (tokens), attempts, "
            "queue_time, connect_time, first_token_time, stall_time, total_time, drain_time (s); "
            "repeat for several.",
        ),
    ] = None,
) -> None:
    """Put an agent in front of real servers: an OpenAI-compatible gateway.

    It holds the queue, lets the agent choose a server for each request, and passes the answers
    through. `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health`, `/metrics`.
    """
    with reporting(extra="serve"), ExitStack() as stack:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        from agents.gateway.api.serving import make_server
        from agents.gateway.decisions import DecisionProcess
        from agents.gateway.encoding import EncoderProcess
        from agents.gateway.gateway import Gateway
        from agents.gateway.limits import Limits
        from agents.gateway.prompts import Embeddings
        from agents.gateway.records.recorder import Recorder
        from agents.gateway.servers.spec import load_cluster
        from agents.threads import one_thread

        with reading_input():
            cluster = load_cluster(nodes)
            limits = _limits(Limits, limit)
            key = _key(api_key_env)
            options = read_settings(settings, setting_kinds())
            make = _player_maker(cluster, dataset, limits.queue, options, seed)
            player = make(read_agent(agent, trust), learn)
            shadowing = None if shadow is None else make(read_agent(shadow, trust), learn)
            process = DecisionProcess(player, shadowing)
            learner = learn and bool(player.agent.state())
            if save is not None:
                _check_save(save, agent, player.agent.name, learner)
            embeddings = None
            if process.needs_embeddings:
                embeddings = Embeddings(
                    make_encoder()
                    if _cores() == 1
                    else stack.enter_context(EncoderProcess(make_encoder))
                )
            watchers = [] if record is None else [Recorder(record, process, cluster)]
        if learner and save is None:
            warn("what the agent learns is lost at the end: --save FILE keeps it")
        if host not in LOOPBACK and not key:
            warn(f"--host {host} without --api-key-env: whoever reaches this machine may ask")
        gateway = Gateway(
            cluster,
            process,
            limits,
            api_key=key,
            embeddings=embeddings,
            save=None if save is None else lambda: player.agent.save(save),
            watchers=watchers,
        )
        server = make_server(gateway, host, port)
        typer.echo(f"{player.agent.name} routes over {len(cluster.servers)} servers", err=True)
        sys.setswitchinterval(_SWITCH)
        # To look through all that was imported takes a tenth of a second, in which no token is
        # passed on: it is done once, now, and is no garbage from here on.
        gc.collect()
        gc.freeze()
        with one_thread():
            server.run()
        if gateway.failure is not None:
            raise gateway.failure
        if not server.started:
            fail(f"could not listen at {host}:{port}")


def _check_save(path: Path, given: str, name: str, learner: bool) -> None:
    """Checks that an agent can be kept in a file, and that nothing else is lost by it."""
    if path.suffix != ".npz":
        raise ValueError(f"--save {path}: must end in .npz, as agents' files do")
    if not learner:
        raise ValueError(f"--save {path}: {name} learns nothing here that could be kept")
    check_writable(path)
    if path.exists() and path.resolve() != Path(read_name(given)[0]).resolve():
        raise ValueError(
            f"--save {path}: exists, and {given} begins anew: give another file, or go on from "
            f"what it holds with --agent {path}"
        )


def _cores() -> int:
    """Returns how many cores this process may use; on one a second process is no gain."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(kind: type[Any], items: list[str] | None) -> Any:
    from dataclasses import fields

    known = {item.name: str(item.type) for item in fields(kind)}
    given = read_settings(items, known)
    for name in given:
        if name not in known:
            raise ValueError(f"--limit {name}: must be one of {', '.join(known)}")
    return kind(**given)


def _key(variable: str | None) -> str:
    if variable is None:
        return ""
    value = os.environ.get(variable, "")
    if not value:
        raise ValueError("--api-key-env: must name an environment variable that is set")
    return value


def _player_maker(
    cluster: ClusterFile, dataset: str, waiting: int, options: dict[str, Any], seed: int
) -> Callable[[Agent, bool], Player]:
    from agents.gateway.decisions import Player

    def make(agent: Agent, learn: bool) -> Player:
        return Player(
            agent,
            [server.node for server in cluster.servers],
            dataset=dataset,
            waiting=waiting,
            settings=options,
            learn=learn,
            seed=seed,
        )

    return make


def read_agent(text: str, trust: bool = False) -> Agent:
    """Makes an agent of a name with settings, as compare takes them, or of a trained one's file.

    Args:
        text: The name or the file.
        trust: Whether a file may hold pickled objects.

    Raises:
        OSError: If its file cannot be read.
        TypeError: If it has no such setting, or lacks one that it needs.
        ValueError: If there is none of that name, a setting is out of range, or the file holds
            pickled objects.
    """
    from agents.experiments.training.model_file import read_model_file
    from agents.registry import make_agent

    name, items = read_name(text)
    path = Path(name)
    if path.suffix not in (".npz", ".zip"):
        given = read_settings(items, agent_kinds(name))
        if "path" in given:
            require_trust(name, text, trust)
        return make_agent(name, **given)
    found = read_model_file(path)
    check_trust([found], trust)
    if found.agent == "sb3":
        return make_agent("sb3", path=path, **read_settings(items, agent_kinds("sb3")))
    agent = make_agent(found.agent, **found.settings)
    agent.load(path)
    return agent


def make_encoder() -> Encoder:
    """Returns the encoder of prompts: the model that bundled datasets were embedded with."""
    from data_tools.bundling.packed import PackedEmbedder
    from data_tools.cli.console import quieten_transformers

    quieten_transformers()
    embedder = PackedEmbedder()
    return lambda prompts: embedder.encode(prompts).vectors
