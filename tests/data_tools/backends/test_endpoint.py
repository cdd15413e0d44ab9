import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from data_tools.backends.endpoint import EndpointBackend, EndpointStoppedError, chat_url
from data_tools.profiling.profiler import profile_backend
from tests.data_tools.backends.chat_server import (
    ChatServer,
    Reply,
    answer,
    death,
    delta,
    events,
    late,
    lines,
    silence,
    status,
)

KEY = "sk-very-secret"


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that a back end made between attempts, s; it does not really make them."""
    return []


def connect(server: ChatServer | str, pauses: list[float], **settings: object) -> EndpointBackend:
    url = server if isinstance(server, str) else server.url
    settings = {"max_new_tokens": 16, "timeout": 5.0, "retries": 2} | settings
    return EndpointBackend(url, "tiny", sleep=pauses.append, **settings)


def test_an_answer_is_timed_from_its_first_word(pauses: list[float]) -> None:
    reply = answer("Yes", ",", " sure", pause=0.05, usage=(11, 3))
    with ChatServer([answer("warm"), reply]) as server, connect(server, pauses) as backend:
        backend.measure("open the connection")
        measured = backend.measure("Is it?")

    assert measured.error is None
    assert measured.response_text == "Yes, sure"
    assert (measured.input_token_count, measured.output_token_count) == (11, 3)
    assert measured.finish_reason == "eos"
    # The role comes at once, each word 50 ms after the one before.
    assert measured.time_to_first_token is not None
    assert measured.inference_time is not None
    assert 0.05 <= measured.time_to_first_token < measured.inference_time - 0.09
    assert 0.15 <= measured.inference_time < 5.0
    assert pauses == []

    sent = server.requests[-1]
    assert sent["messages"] == [{"role": "user", "content": "Is it?"}]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("tiny", 16, 0)
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}


def test_without_usage_chunks_with_text_are_counted(pauses: list[float]) -> None:
    reply = answer("one", "two", "three", usage=None, finish_reason="length")
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Count.")
    assert measured.output_token_count == 3  # not the role, not the end
    assert measured.input_token_count is None
    assert measured.finish_reason == "length"


@pytest.mark.parametrize("stated", [{"completion_tokens": 0}, {"prompt_tokens": 0}])
def test_counts_of_nothing_beside_text_are_not_believed(
    stated: dict[str, int], pauses: list[float]
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 7} | stated
    counts = json.dumps({"choices": [], "usage": usage})
    said = [delta(content="Y"), delta(content="es"), delta(finish_reason="stop"), counts, "[DONE]"]
    with ChatServer([events(*said)]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Is it?")
    expected = (None, 7) if "prompt_tokens" in stated else (9, 2)
    assert (measured.input_token_count, measured.output_token_count) == expected
    assert measured.error is None


@pytest.mark.parametrize("word", ["ping", ": PROCESSING", '"ping"', "null", "{}"])
def test_words_between_the_chunks_lose_nothing(word: str, pauses: list[float]) -> None:
    said = [delta(content="Y"), word, delta(content="es"), delta(finish_reason="stop")]
    with ChatServer([events(word, *said, word)]) as server, connect(server, pauses) as backend:
        assert backend.measure("Is it?").response_text == "Yes"


MESSAGE = {"role": "assistant", "content": "Yes"}


@pytest.mark.parametrize(
    "choices",
    [
        [{"message": MESSAGE, "finish_reason": "stop"}],
        [{"text": "Y"}, {"text": "es", "finish_reason": "stop"}],
        [{"delta": {"content": "Yes"}}, {"message": MESSAGE, "finish_reason": "stop"}],
        [{"delta": MESSAGE, "finish_reason": "null"}, {"delta": {}, "finish_reason": "stop"}],
    ],
)
def test_text_is_found_wherever_a_choice_has_it(
    choices: list[dict[str, object]], pauses: list[float]
) -> None:
    said = [json.dumps({"choices": [choice]}) for choice in choices]
    with ChatServer([events(*said, "[DONE]")]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Is it?")
    assert (measured.response_text, measured.finish_reason) == ("Yes", "eos")
    assert measured.time_to_first_token is not None


def test_an_empty_answer_may_have_no_token(pauses: list[float]) -> None:
    with ChatServer([answer(usage=(9, 0))]) as server, connect(server, pauses) as backend:
        assert backend.measure("Say nothing.").output_token_count == 0


def test_half_characters_are_joined_or_replaced(pauses: list[float], tmp_path: Path) -> None:
    said = [delta(content="\ud83d"), delta(content="\ude00 \ud83d"), delta(finish_reason="stop")]
    replies = [*[answer("1")] * 3, events(*said, "[DONE]")]
    with ChatServer(replies) as server, connect(server, pauses) as backend:
        path = profile_backend(backend, ["Smile."], tmp_path, show_progress=False)
    assert json.loads(path.read_text())["response_text"] == "\U0001f600 \ufffd"


@pytest.mark.parametrize(
    ("told", "cached"),
    [
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}}, 8),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}}, 0),
        ({"usage": {"prompt_tokens": 9}, "timings": {"cache_n": 5, "prompt_n": 4}}, 5),
        ({"timings": {"prompt_n": 4}}, None),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": None}}, None),
        ({"usage": {"prompt_tokens": 9}}, None),
    ],
)
def test_what_a_cache_held_is_recorded_where_the_server_says_so(
    told: dict[str, Any], cached: int | None, tmp_path: Path, pauses: list[float]
) -> None:
    said = events(delta(content="a"), delta(finish_reason="stop"), json.dumps(told), "[DONE]")
    with ChatServer([answer("1")] * 3 + [said]) as server, connect(server, pauses) as backend:
        path = profile_backend(backend, ["Hello"], tmp_path, show_progress=False)
    row = json.loads(path.read_text())
    assert row.get("cached_tokens") == cached
    assert ("cached_tokens" in row) == (cached is not None)


def test_usage_in_the_last_chunk_and_no_end_mark(pauses: list[float]) -> None:
    last = json.loads(delta(finish_reason="stop"))
    last["usage"] = {"prompt_tokens": 4, "completion_tokens": 2}
    reply = events(delta(role="assistant"), delta(content="Hi"), json.dumps(last))
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Greet.")
    assert (measured.input_token_count, measured.output_token_count) == (4, 2)


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"thinking": "Hm."},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]},
    ],
)
def test_reasoning_is_timed_but_is_not_the_answer(
    thought: dict[str, object], pauses: list[float]
) -> None:
    end = [delta(content="42"), delta(finish_reason="stop"), "[DONE]"]
    reply = late(0.2, [delta(role="assistant", content=""), delta(**thought)], end)
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        measured = backend.measure("What?")
    assert measured.response_text == "42"
    assert measured.output_token_count == 2
    assert measured.time_to_first_token is not None
    assert measured.inference_time is not None
    assert measured.time_to_first_token < 0.2 <= measured.inference_time


FILTERED = json.dumps(
    {"choices": [{"delta": {}, "finish_reason": None, "content_filter_results": {"hate": 0}}]}
)
COUNTS = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
ROLE_AGAIN = delta(role="assistant", content="")


@pytest.mark.parametrize("after", [FILTERED, COUNTS, ROLE_AGAIN, delta(finish_reason="stop")])
def test_what_comes_after_the_end_takes_no_time(after: str, pauses: list[float]) -> None:
    before = [delta(content="Yes"), delta(finish_reason="stop")]
    with (
        ChatServer([late(0.3, before, [after, "[DONE]"])]) as server,
        connect(server, pauses) as backend,
    ):
        measured = backend.measure("Is it?")
    assert measured.inference_time is not None
    assert measured.inference_time < 0.3


def test_a_connection_lost_after_the_end_costs_nothing(pauses: list[float]) -> None:
    ended = [delta(content="Yes"), delta(finish_reason="stop")]
    replies = [death(*ended), silence(2.0, *ended)]
    with ChatServer(replies) as server, connect(server, pauses, timeout=0.3) as backend:
        for _ in replies:
            measured = backend.measure("Is it?")
            assert (measured.response_text, measured.error) == ("Yes", None)


@pytest.mark.parametrize(
    "noise",
    [
        "data:",
        "data: ",
        ": keep-alive",
        "retry: 3000",
        "event: status\ndata: queued",
        'event: ping\ndata: {"type": "ping"}',
        "event: status\ndata: [1]",
        'data: {"status": "queued"}',
        'data: {"choices": null, "error": null}',
    ],
)
def test_keep_alive_events_do_not_lose_the_answer(noise: str, pauses: list[float]) -> None:
    said = [delta(content="Y"), delta(content="es"), delta(finish_reason="stop"), "[DONE]"]
    groups = [group for data in said for group in (noise, f"data: {data}")]
    with ChatServer([lines(*groups)]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Is it?")
    assert (measured.response_text, measured.error) == ("Yes", None)
    assert measured.output_token_count == 2


@pytest.mark.parametrize(("words", "reason"), [(3, "eos"), (16, "length")])
def test_an_end_mark_without_a_reason_is_an_end(
    words: int, reason: str, pauses: list[float]
) -> None:
    reply = events(*[delta(content="a")] * words, "[DONE]")
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Is it?")
    assert measured.finish_reason == reason
    assert measured.output_token_count == words


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "Yes"}], "Yes"),
        ([{"type": "text", "text": "Ye"}, {"type": "image"}, "s"], "Yes"),
        ({"type": "text", "text": "Yes"}, "Yes"),
        ([], ""),
        (None, ""),
    ],
)
def test_content_may_come_in_parts(content: object, text: str, pauses: list[float]) -> None:
    reply = events(delta(content=content), delta(finish_reason="stop"), "[DONE]")
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        assert backend.measure("Is it?").response_text == text


def test_a_refusal_is_the_answer(pauses: list[float]) -> None:
    reply = events(delta(content=None, refusal="No."), delta(finish_reason="stop"), "[DONE]")
    with ChatServer([reply]) as server, connect(server, pauses) as backend:
        assert backend.measure("Is it?").response_text == "No."


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [None]},
        {"choices": ["x"]},
        {"choices": {"delta": {}}},
        {"choices": 5},
        {"choices": [{"delta": "Yes"}]},
        {"choices": [{"delta": [1]}]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"content": [5]}}]},
        {"choices": [{"delta": {"content": [{"type": "text", "text": 5}]}}]},
        {"choices": [{"delta": {}, "finish_reason": {"type": "stop"}}]},
        {"choices": [], "usage": [1, 2]},
        {"choices": [], "usage": "none"},
        {"choices": [], "usage": {"completion_tokens": -1}},
        {"choices": [], "usage": {"completion_tokens": "12"}},
        {"choices": [], "usage": {"prompt_tokens": 1.5}},
        {"choices": [], "usage": {"prompt_tokens": True}},
        {"choices": [], "usage": {"prompt_tokens": 10**12}},
        {"object": "error", "message": "cache full"},
    ],
)
def test_odd_shapes_cost_one_prompt_not_the_run(
    chunk: dict[str, object], pauses: list[float]
) -> None:
    odd = events(delta(content="a"), json.dumps(chunk), delta(finish_reason="stop"), "[DONE]")
    with ChatServer([odd, answer("fine")]) as server, connect(server, pauses) as backend:
        failed = backend.measure("Trouble.")
        assert backend.measure("The next one.").response_text == "fine"
    assert failed.error is not None
    assert re.match("(stream|server): ", failed.error)
    assert failed.inference_time is None


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_cap_goes_by_the_name_asked_for(field: str, pauses: list[float]) -> None:
    with ChatServer([answer("a")]) as server, connect(server, pauses, limit_field=field) as backend:
        backend.measure("Hello?")
        recorded = backend.configuration.get("limit_field", "max_tokens")
    sent = server.requests[0]
    assert sent[field] == 16
    assert len({"max_tokens", "max_completion_tokens"} & set(sent)) == 1
    assert recorded == field


def test_an_address_that_has_moved_stops_the_run(pauses: list[float]) -> None:
    stopped = pytest.raises(EndpointStoppedError, match=r"HTTP 308: it has moved to https://new")
    moved = ChatServer([status(308, Location="https://new")])
    with moved as server, connect(server, pauses) as backend, stopped:
        backend.measure("Hello?")


def test_an_empty_answer_has_no_first_token(pauses: list[float]) -> None:
    with ChatServer([answer(usage=(9, 1))]) as server, connect(server, pauses) as backend:
        measured = backend.measure("Say nothing.")
    assert (measured.response_text, measured.time_to_first_token) == ("", None)
    assert measured.output_token_count == 1


def test_a_failing_server_gets_growing_pauses(pauses: list[float]) -> None:
    replies = [status(500), status(503), answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses, backoff=0.5) as backend:
        assert backend.measure("Try.").response_text == "ok"
    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 529, 599])
def test_what_may_pass_is_tried_again(code: int, pauses: list[float]) -> None:
    replies = [status(code), answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses) as backend:
        assert backend.measure("Try.").response_text == "ok"


def test_the_server_may_name_a_date(pauses: list[float]) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    replies = [status(429, Retry_After=soon), status(529, Retry_After=past), answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses, backoff=0.5) as backend:
        assert backend.measure("Try.").response_text == "ok"
    assert 7.0 <= pauses[0] <= 9.0
    assert pauses[1] == 1.0


def test_the_server_may_say_how_long_to_wait(pauses: list[float]) -> None:
    replies = [status(429, Retry_After="7"), status(429, Retry_After="soon"), answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses, backoff=0.5) as backend:
        assert backend.measure("Try.").response_text == "ok"
    assert pauses == [7.0, 1.0]


@pytest.mark.parametrize("asked", ["90", "600"])
def test_a_long_pause_is_kept(asked: str, pauses: list[float]) -> None:
    replies = [status(429, Retry_After=asked), answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses) as backend:
        assert backend.measure("Try.").response_text == "ok"
    assert pauses == [float(asked)]


@pytest.mark.parametrize(("asked", "said"), [("3600", "3,600"), ("1e999", "inf")])
def test_a_longer_pause_than_is_waited_ends_the_run(
    asked: str, said: str, pauses: list[float]
) -> None:
    message = f"HTTP 429: no; it asks for a pause of {said} s, and 600 s is the longest"
    stopped = pytest.raises(EndpointStoppedError, match=message)
    replies = [status(429, Retry_After=asked)]
    with ChatServer(replies) as server, connect(server, pauses) as backend, stopped:
        backend.measure("Try.")
    assert pauses == []


def test_pauses_of_our_own_do_not_grow_for_ever(pauses: list[float]) -> None:
    replies = [*[status(503)] * 8, answer("ok")]
    with ChatServer(replies) as server, connect(server, pauses, retries=8) as backend:
        assert backend.measure("Try.").response_text == "ok"
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("reply", "requests", "message"),
    [
        (status(400, "prompt too long"), 1, r"HTTP 400: prompt too long"),
        (status(500, "out of memory"), 3, r"HTTP 500: out of memory"),
        (death(begun=False), 3, r"connection: no answer began"),
        (death(delta(content="a"), delta(content="b")), 1, r"connection: .* after 2 chunks"),
        (silence(2.0), 1, r"timeout: no answer began"),
        (silence(2.0, delta(content="a")), 1, r"timeout: .* after 1 chunks"),
        (events(delta(content="a")), 1, r"stream: .* after 1 chunks"),
        (events("{half"), 1, r"stream: not JSON"),
        (events("[1]"), 1, r"stream: not a JSON object"),
        (events('{"error": {"message": "cache full"}}'), 1, r"server: .*cache full"),
        (lines("event: error\ndata: cache full"), 1, r"server: cache full"),
        (lines('event: error\ndata: {"message": "cache full"}'), 1, r"server: .*cache full"),
        (events("[DONE]"), 1, r"stream: no answer began"),
        (status(422, "no stream_options"), 1, r"HTTP 422"),
        (status(200, "{}"), 1, r"stream: it is .*, not text/event-stream: {}"),
        (events(delta(content="a"), "Bad gateway"), 1, r"stream: .* chunks; .*: Bad gateway"),
        (events('{"detail": "overloaded"}'), 1, r"stream: no answer began; .*: .*overloaded"),
        (events(delta("null", content="a")), 1, r"stream: .* after 1 chunks"),
    ],
)
def test_failures_of_one_prompt_are_measurements_with_an_error(
    reply: Reply, requests: int, message: str, pauses: list[float]
) -> None:
    replies = [reply] * requests + [answer("fine")]
    with ChatServer(replies) as server, connect(server, pauses, timeout=0.3) as backend:
        failed = backend.measure("Trouble.")
        assert len(server.requests) == requests
        assert backend.measure("The next one.").response_text == "fine"
    assert failed.error is not None
    assert failed.inference_time is None
    assert re.match(message, failed.error)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_every_prompt_would_meet_stops_the_run(code: int, pauses: list[float]) -> None:
    complaint = f"bad key {KEY} or no such model"
    stopped = pytest.raises(EndpointStoppedError, match=rf"HTTP {code}: bad key \[key\]")
    with ChatServer([status(code, complaint)]) as server:
        with connect(server, pauses, api_key=KEY) as backend, stopped as info:
            backend.measure("Hello?")
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(info.value)
    assert pauses == []


def test_a_server_that_stays_busy_stops_the_run(pauses: list[float]) -> None:
    stopped = pytest.raises(EndpointStoppedError, match="HTTP 503: loading; attempts: 3")
    busy = ChatServer([status(503, "loading")] * 3)
    with busy as server, connect(server, pauses) as backend, stopped:
        backend.measure("Hello?")


def test_refused_connections_stop_the_run(pauses: list[float]) -> None:
    with ChatServer([]) as server:
        pass
    stopped = pytest.raises(EndpointStoppedError, match=r"cannot be reached .* attempts: 3")
    with connect(server, pauses) as backend, stopped:
        backend.measure("Hello?")
    assert pauses == [0.5, 1.0]


def test_the_prompt_that_killed_the_server_is_recorded_as_such(pauses: list[float]) -> None:
    killed = ChatServer([death(begun=False, for_good=True)])
    with killed as server, connect(server, pauses) as backend:
        assert "no answer began" in str(backend.measure("Kill.").error)
        with pytest.raises(EndpointStoppedError, match="cannot be reached"):
            backend.measure("Hello?")


@pytest.mark.parametrize("breakdown", [death(begun=False), silence(2.0)])
def test_a_server_broken_for_good_does_not_eat_up_the_prompts(
    breakdown: Reply, pauses: list[float]
) -> None:
    replies = [breakdown, answer("fine"), breakdown, breakdown]
    with (
        ChatServer(replies) as server,
        connect(server, pauses, timeout=0.3, retries=0) as backend,
    ):
        assert backend.measure("1").error is not None
        assert backend.measure("2").error is None
        assert backend.measure("3").error is not None
        with pytest.raises(EndpointStoppedError, match="twice in a row"):
            backend.measure("4")


def test_warm_up_must_succeed(pauses: list[float]) -> None:
    with ChatServer([answer("1")] * 3) as server, connect(server, pauses) as backend:
        backend.warm_up()
        assert len(server.requests) == 3
    stopped = pytest.raises(EndpointStoppedError, match="first, simple request: HTTP 400: what")
    with ChatServer([status(400, "what")]) as server, connect(server, pauses) as backend, stopped:
        backend.warm_up()


ODD = [
    events('{"choices": [null]}'),
    events('{"choices": [{"delta": "Yes"}]}', "[DONE]"),
    events("{half"),
    events("[DONE]"),
]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_first_answer_costs_that_prompt_alone(
    odd: Reply, tmp_path: Path, pauses: list[float]
) -> None:
    replies = [odd, answer("1"), answer("1"), odd, answer("fine")]
    with ChatServer(replies) as server, connect(server, pauses) as backend:
        path = profile_backend(backend, ["a", "b"], tmp_path, show_progress=False)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0]["error"].startswith("stream: ")
    assert (rows[1]["response_text"], rows[1]["error"]) == ("fine", None)


def test_a_run_goes_on_where_the_server_died(tmp_path: Path, pauses: list[float]) -> None:
    prompts = [f"Prompt {i}" for i in range(5)]
    warm_up = [answer("1")] * 3
    dying = [*warm_up, answer("a"), death(delta(content="b"), for_good=True)]
    stopped = pytest.raises(EndpointStoppedError)
    with ChatServer(dying) as server, connect(server, pauses) as backend, stopped:
        profile_backend(backend, prompts, tmp_path, show_progress=False)

    restarted = ChatServer([*warm_up, *[answer("c")] * 3], port=server.port)
    with restarted, connect(restarted, pauses, api_key=KEY) as backend:
        path = profile_backend(backend, prompts, tmp_path, show_progress=False)

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["request_text"] for row in rows] == prompts
    assert [row["response_text"] for row in rows] == ["a", None, "c", "c", "c"]
    assert "after 1 chunks" in rows[1]["error"]
    assert all(KEY not in file.read_text() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://host", "http://", "http://me:pw@host/v1", "http://host/v1?key=1"],
)
def test_only_plain_urls(url: str) -> None:
    with pytest.raises(ValueError, match="endpoint") as info:
        chat_url(url)
    assert "pw" not in str(info.value)


def test_url_may_name_the_whole_address() -> None:
    whole = "http://host/v1/chat/completions"
    assert chat_url(whole) == chat_url("http://host/v1/") == chat_url("http://host") == whole


@pytest.mark.parametrize(
    "setting",
    [
        {"timeout": 0},
        {"timeout": float("inf")},
        {"retries": -1},
        {"max_new_tokens": 0},
        {"backoff": -1},
        {"limit_field": "max"},
    ],
)
def test_settings_are_checked(setting: dict[str, int], pauses: list[float]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name}=.*: must be"):
        connect("http://127.0.0.1:1", pauses, **setting)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "sk-é", ""])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, pauses: list[float]) -> None:
    with pytest.raises(ValueError, match="api_key: must be printable ASCII") as info:
        connect("http://127.0.0.1:1", pauses, api_key=key)
    assert "secret" not in str(info.value)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model='.udcff': must be text"):
        EndpointBackend("http://127.0.0.1:1", "\udcff", max_new_tokens=1)


def test_a_server_that_streams_nothing_stops_the_run_at_once(pauses: list[float]) -> None:
    stopped = pytest.raises(
        EndpointStoppedError, match=r"first, simple request: .* not text/event-"
    )
    with ChatServer([status(200, "<html>")]) as server, connect(server, pauses) as backend, stopped:
        backend.warm_up()
