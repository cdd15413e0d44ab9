"""Files of servers, answers as they pass, servers in trouble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from yarl import URL

from agents.gateway.api.openai import ApiError, Question, read_question
from agents.gateway.prompts import PromptLengths
from agents.gateway.servers.answers import AnswerReader
from agents.gateway.servers.slowness import Slowness
from agents.gateway.servers.spec import load_cluster
from agents.gateway.ticket import Ticket
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.files import UnreadableFileError
from edgecloud_gym.node_files import load_nodes
from edgecloud_gym.nodes import Slots
from tests.agents.gateway.support import CHAT, MODEL, answer, engine, events

NODE = {"kind": "slots", "name": "a", "slots": 2, "url": "http://127.0.0.1:8000/v1/"}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_file_names_nodes_servers_and_keys(tmp_path: Path) -> None:
    other = NODE | {"name": "b", "serves": "m", "api_key_env": "KEY"}
    path = write(tmp_path / "c.json", {"model": "ours", "nodes": [NODE, other]})
    cluster = load_cluster(path, {"KEY": "secret"})
    assert cluster.model == "ours"
    first, second = cluster.servers
    assert (first.url, first.serves, first.api_key) == ("http://127.0.0.1:8000", None, "")
    assert (second.serves, second.api_key) == ("m", "secret")
    assert "secret" not in repr(cluster)
    assert load_nodes(path) == tuple(server.node for server in cluster.servers)
    assert load_cluster(write(tmp_path / "l.json", [NODE])).model is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must hold at least one node"),
        ({"nodes": []}, "must hold at least one node"),
        ([NODE, NODE], "2 are named 'a'; names must differ"),
        ([{k: v for k, v in NODE.items() if k != "url"}], "node 'a': has no url: must be http://"),
        ([NODE | {"url": 7}], "url=7: must be http:// or https://"),
        ([NODE | {"url": "http://u:pw@x"}], "must hold no user or password"),
        ([NODE | {"url": "http://u:pw@[::1"}], "must hold no user or password"),
        ([NODE | {"name": "a\nb"}], r"node 'a\nb': name: must hold no line break"),
        ([NODE | {"api_key_env": "sk-123"}], "must be the name of an environment variable"),
        ([NODE | {"api_key_env": "NONE"}], "api_key_env='NONE': this environment variable is not"),
        ([NODE | {"serves": 3}], "serves=3: must be the name"),
        ([NODE | {"slots": 0}, NODE | {"name": "b"}], "slots=0: a server must take at least one"),
        ([{"kind": "static-batches", "name": "a", "url": "http://x"}], "gather their batches"),
        ({"model": 3, "nodes": [NODE]}, "model=3: must be the name that clients use"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"c\.json") as raised:
        load_cluster(write(tmp_path / "c.json", content), {})
    assert message in str(raised.value)
    assert "pw" not in str(raised.value)
    assert "sk-123" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://x", "x:8080", "//x", "http:x", "http://", "http:///v1", "http://:80", "http://.",
        "http://[::1", "http://[x]", "http://[v1.x]", "http://x:port", "http://x:99999",
        "http://x:0", "http://x:80:80", "http://a b", " http://x", "http://x\n", "http://x\0",
        "http://a..b", f"http://{'x' * 70}.com", "http://x\u200by", "http://x\\y", "http://a,b",
        "http://x?y", "http://x/?", "http://x#y",
    ],
)  # fmt: skip
def test_a_malformed_address_is_told_with_what_is_allowed(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [NODE | {"url": url}])
    with pytest.raises(UnreadableFileError) as raised:
        load_cluster(path)
    assert f"node 'a': url={url!r}: must be http:// or https://, a host" in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["http://[::1]:8080", "http://[fe80::1%eth0]", "https://münchen.de", "http://edge_1:80",
     "HTTP://X.", "http://10.0.0.1/a/@b", "http://x:"],
)  # fmt: skip
def test_addresses_that_can_be_asked_pass(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [NODE | {"url": f"{url}/v1/"}])
    (server,) = load_cluster(path).servers
    assert server.url == url
    assert URL(server.url + CHAT).host


def test_a_key_that_no_header_can_hold_is_said_and_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", [NODE | {"api_key_env": "KEY"}])
    with pytest.raises(UnreadableFileError, match="api_key_env='KEY': its key holds") as raised:
        load_cluster(path, {"KEY": "secret\n"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_tokens_are_counted_wherever_the_bytes_are_cut(size: int) -> None:
    stream = b"".join(events(9))
    reader = AnswerReader(stream=True)
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    reader.close()
    assert (reader.tokens, reader.ended, reader.done) == (9, True, True)


def test_servers_counts_go_before_ours() -> None:
    whole = AnswerReader(stream=False)
    whole.feed(json.dumps(answer(5)).encode())
    whole.close()
    assert (whole.prompt_tokens, whole.tokens) == (7, 5)
    stream = AnswerReader(stream=True)
    stream.feed(b'data: {"choices": [{"delta": {"content": "two tokens"}}]}\r\n\r\n')
    stream.feed(b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n')
    assert (stream.prompt_tokens, stream.tokens, stream.done) == (3, 2, False)
    stream.feed(b": comment\ndata: no json\ndata: [1]\n\n")
    stream.feed(b'data: {"error": {"message": "out of memory"}}\n\n')
    assert "out of memory" in stream.error


def test_llama_cpp_tells_by_timings() -> None:
    reader = AnswerReader(stream=True)
    reader.feed(b'data: {"choices": [], "timings": {"prompt_n": 12, "predicted_n": 30}}\n\n')
    assert (reader.prompt_tokens, reader.cached_tokens, reader.tokens) == (12, None, 30)
    reader.feed(b'data: {"timings": {"prompt_n": 12, "cache_n": 25, "predicted_n": 31}}\n\n')
    assert (reader.prompt_tokens, reader.cached_tokens, reader.tokens) == (37, 25, 31)


@pytest.mark.parametrize(
    ("details", "cached"),
    [({"cached_tokens": 5}, 5), ({"cached_tokens": 0}, 0), (None, None), ({}, None), ([5], None),
     ({"cached_tokens": None}, None), ({"cached_tokens": -1}, None),
     ({"cached_tokens": 2.5}, None)],
)  # fmt: skip
def test_prompt_tokens_found_in_a_cache_are_read(details: Any, cached: int | None) -> None:
    reader = AnswerReader(stream=False)
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": details}
    reader.feed(json.dumps({"usage": usage}).encode())
    reader.close()
    assert (reader.prompt_tokens, reader.cached_tokens) == (7, cached)


@pytest.mark.parametrize(
    ("prompt", "size", "in_tokens"),
    [("häu", 4, False), (["a", "b"], 3, False), ([1, 2, 3], 3, True), ([[1], [2, 3]], 3, True)],
)
def test_prompts_of_all_kinds_have_a_size(prompt: Any, size: int, in_tokens: bool) -> None:
    asked = read_question("/v1/completions", json.dumps({"prompt": prompt}).encode())
    assert (asked.size, asked.in_tokens) == (size, in_tokens)
    with pytest.raises(ApiError, match="prompt: must be"):
        read_question("/v1/completions", b'{"prompt": [null]}')


def test_parts_of_messages_are_read() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "system", "content": "sys"}, {"role": "user", "content": parts}]
    asked = read_question(CHAT, json.dumps({"messages": messages}).encode())
    assert (asked.prompt, asked.size) == ("one", 6)


def test_lengths_of_prompts_are_learnt_from_servers() -> None:
    data = load_dataset("smollm2-135m")
    assert data.prompts is not None
    assert data.prompt_tokens is not None
    lengths = PromptLengths(data)

    def about(size: int) -> int:
        return lengths.estimate(Question(CHAT, b"", None, True, "", size=size))

    known = [about(len(prompt.encode())) for prompt in data.prompts]
    assert abs(np.array(known) / data.prompt_tokens - 1).mean() < 0.15
    rng = np.random.default_rng(0)
    for size in rng.integers(20, 2000, 500).tolist():
        ticket = Ticket(0, 0.0, prompt_tokens=50 + size // 2, outcome="completed")
        lengths.learn(Question(CHAT, b"", None, True, "", size=size), ticket)
    assert about(100) == pytest.approx(100, abs=5)
    assert about(1000) == pytest.approx(550, abs=5)
    assert about(0) >= 1


def test_a_slow_server_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    slowness = Slowness(engine("a"))
    step = MODEL.step_time(decoding=1)
    for key in range(50):
        ticket = Ticket(key, 0.0, 8, first_token=1.0, finish=1.0 + 40 * step, tokens=11)
        slowness.see(ticket, beside=0)
    assert slowness.factor == pytest.approx(4.0, rel=0.01)
    assert caplog.text.count("4.0 times as long per token") == 1
    other = Slowness(Slots("c"))
    other.see(Ticket(0, 0.0, 8, first_token=1.0, finish=2.0, tokens=5), beside=0)
    assert other.factor != other.factor
