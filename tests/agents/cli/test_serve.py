"""`edgecloud serve` and `edgecloud replay`: what they refuse, and a process until a signal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import httpx2
import pytest
from stable_baselines3 import PPO

from agents import save_model
from agents.cli.serve import read_agent
from agents.registry import make_agent
from agents.schedulers.policy_agent import MODELS
from tests.agents.cli.conftest import invoke, words

NODE = {"kind": "engine", "name": "a", "model": "smollm2-135m-cpu", "url": "http://127.0.0.1:9"}


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps([NODE]))
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--agent", "nobody"], "unknown agent 'nobody'"),
        (["--agent", "missing.npz"], "missing.npz"),
        (["--agent", "sjf-oracle"], "'sjf-oracle' does not play live"),
        (["--shadow", "sjf-oracle"], "'sjf-oracle' does not play live"),
        (["--limit", "quee=3"], "--limit quee: must be one of queue, body"),
        (["--limit", "queue=0"], "queue=0: must be an integer >= 1"),
        (["--api-key-env", "NOT_THERE"], "must name an environment variable that is set"),
        (["--set", "observ=id"], "unknown setting observ='id'"),
        (["--record", "."], "is not empty"),
        (["--agent", "c2ucb", "--save", "x.txt"], "--save x.txt: must end in .npz"),
        (["--agent", "c2ucb", "--save", "a.npz/x.npz"], "a.npz"),
        (["--agent", "c2ucb", "--save", "a.npz"], "begins anew"),
        (["--agent", "fcfs", "--save", "x.npz"], "fcfs learns nothing"),
        (["--agent", "c2ucb", "--no-learn", "--save", "x.npz"], "c2ucb learns nothing here"),
    ],
)
def test_what_is_wrong_is_said(
    options: list[str], message: str, nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nodes.parent)
    Path("a.npz").touch()
    result = invoke("serve", "--nodes", nodes, *options)
    assert result.exit_code == 2
    assert message in words(result)


@pytest.mark.parametrize("host", [None, "0.0.0.0"])
def test_it_listens_at_the_loopback_address_unless_it_is_told_otherwise(
    host: str | None, nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda server: asked.append(server.config.host))
    result = invoke("serve", "--nodes", nodes, *([] if host is None else ["--host", host]))
    assert asked == [host or "127.0.0.1"]
    assert ("whoever reaches this machine may ask" in words(result)) == (host is not None)
    assert f"could not listen at {asked[0]}:8000" in words(result)


def test_replay_wants_a_record(tmp_path: Path) -> None:
    result = invoke("replay", tmp_path)
    assert result.exit_code == 2
    assert "run.json" in words(result)


def test_agents_come_by_name_and_from_files(tmp_path: Path) -> None:
    assert read_agent("cn-greedy:epsilon=0.5").settings()["epsilon"] == 0.5
    assert read_agent(str(MODELS / "ppo-static.npz")).name == "ppo"
    make_agent("historical-lrt").save(tmp_path / "seen.npz")
    assert read_agent(str(tmp_path / "seen.npz")).name == "historical-lrt"
    make_agent("fcfs").save(tmp_path / "fcfs.npz")
    with pytest.raises(ValueError, match=r"no trained model.*holds 'fcfs'"):
        read_agent(str(tmp_path / "fcfs.npz"))


def test_a_file_that_holds_pickled_objects_needs_trust(tmp_path: Path) -> None:
    env = gym.make("EdgeCloud-Static-v0", duration=5, candidate_pool_size=2)
    save_model(PPO("MultiInputPolicy", env, n_steps=2, batch_size=2), tmp_path / "ppo.zip")
    with pytest.raises(ValueError, match=r"ppo\.zip.*--trust"):
        read_agent(str(tmp_path / "ppo.zip"))
    named = f"sb3:path={tmp_path / 'ppo.zip'}"
    with pytest.raises(ValueError, match=r"ppo\.zip.*--trust"):
        read_agent(named)
    for given in (str(tmp_path / "ppo.zip"), named):
        assert read_agent(given, trust=True).name == "sb3"


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def test_it_serves_until_it_is_told_to_stop(nodes: Path) -> None:
    port, behind = free_ports()
    nodes.write_text(json.dumps([NODE | {"url": f"http://127.0.0.1:{behind}"}]))
    upstream = subprocess.Popen([sys.executable, "-c", _MODELS, str(behind)])
    command = [sys.executable, "-m", "agents.cli", "serve", "--nodes", str(nodes)]
    gateway = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            try:
                health = httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False)
                break
            except httpx2.HTTPError:
                assert gateway.poll() is None
                time.sleep(0.1)
        assert health.json()["status"] == "ok"
        gateway.send_signal(signal.SIGTERM)
        _, said = gateway.communicate(timeout=20)
    finally:
        for process in (gateway, upstream):
            process.kill()
            process.wait()
    assert "join-shortest-queue routes over 1 servers" in said
    assert "Traceback" not in said


_MODELS = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "m"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
