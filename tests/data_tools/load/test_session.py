"""A server under load, from its first answer to the engine model; interrupted and resumed."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from data_tools.backends.chat import ChatClient
from data_tools.backends.endpoint import EndpointStoppedError
from data_tools.calibration import calibrate, read_log, read_steps
from data_tools.calibration.sweep_file import IdleMeasurement, RoundMeasurement, SweepFile
from data_tools.load.measuring import read_records
from data_tools.load.open_loop import ServerGoneError
from data_tools.load.plan import Recording
from data_tools.load.server import ServerTraits, warm_up
from data_tools.load.session import ServerUnderLoad, measure_server
from data_tools.load.summary import summarise
from data_tools.load.sweep import count_measurements, count_missing
from data_tools.profiling.run_file import ConfigurationChangedError
from data_tools.progress import progress_bar
from edgecloud_gym.dataset.slowdown import SlowdownFile
from edgecloud_gym.files import UnreadableFileError
from tests.data_tools.backends.chat_server import ChatServer, answer, death, delta, status
from tests.data_tools.load.batching_server import TEMPLATE, batching_server

PROMPTS = ["list one cat", "explain the sea", "write two", "one dog in the sea"]
WARM_UP = [answer("1", usage=(9, 1))] * 4
SIZES = [answer("1", usage=(20 + TEMPLATE, 1)), answer("1", usage=(120 + TEMPLATE, 1))]


def asked(url: str, folder: Path, **settings: object) -> ServerUnderLoad:
    usual = {"prompts": PROMPTS, "max_new_tokens": 6, "name": "m", "model": "served"}
    return ServerUnderLoad(endpoint=url, output_dir=folder, **(usual | settings))


def test_a_sweep_finds_the_server_and_a_loop_tests_it(tmp_path: Path) -> None:
    with batching_server(sequences=3) as (server, engine):
        job = asked(
            server.url,
            tmp_path,
            concurrencies=(1, 2, 3, 5),
            prompt_lengths=(10, 60),
            rates=(20.0,),
            duration=2.0,
            repeats=1,
        )
        paths = measure_server(job, show_progress=False)
        sent = len(engine.bodies)
        assert measure_server(job, show_progress=False) == paths
        assert len(engine.bodies) == sent  # all was there
    # Not how long it took: a busy machine says what it likes, and virtual time has its own tests.
    steps = read_steps(job.sweep_path)
    assert [tokens for tokens, _ in steps.step_times][:3] == [1, 2, 3]
    assert steps.sequences >= 3
    curve = SlowdownFile.read(tmp_path / "inference_data_m.slowdown.json")
    assert curve.batch_sizes[:3] == [1, 2, 3]
    assert curve.slowdown[0] == 1
    result = calibrate([read_log(path) for path in paths], sweep=steps)
    assert result.model.step_times == steps.step_times
    assert result.judgements[0].fitted is False
    assert np.isfinite(result.model.errors["e2e_mean"])


def test_answers_have_the_length_asked_for_only_in_sweeps_and_recordings(tmp_path: Path) -> None:
    with batching_server(overhead=1e-3, per_token=1e-5) as (server, engine):
        measure_server(
            asked(server.url, tmp_path, rates=(50.0,), duration=0.1), show_progress=False
        )
        looped = [body for body in engine.bodies if body["messages"][0]["content"] in PROMPTS]
        assert looped
        assert all("ignore_eos" not in body for body in looped)


def test_a_server_that_knows_no_endless_answers_is_asked_for_none(tmp_path: Path) -> None:
    with batching_server(1e-3, 1e-5, refuses=("ignore_eos",)) as (server, engine):
        job = asked(server.url, tmp_path, concurrencies=(1, 2), prompt_lengths=(10,), repeats=1)
        measure_server(job, show_progress=False)
    assert sum("ignore_eos" in body for body in engine.bodies) == 1
    assert SweepFile.read(job.sweep_path).rounds


def test_a_recording_is_played_in_tokens(tmp_path: Path) -> None:
    trace = tmp_path / "azure.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.0,40,3\n2023-11-16 18:17:03.1,25,9\n2023-11-16 18:17:03.2,300,1\n"
    )
    with batching_server(1e-3, 1e-5) as (server, _):
        job = asked(server.url, tmp_path, recording=Recording.read(trace), prompts=())
        (path,) = measure_server(job, show_progress=False)
    records = [record for record in read_records(path) if not record.warm_up]
    assert [record.planned for record in records] == pytest.approx([0.0, 0.1, 0.2])
    by_request = sorted(records, key=lambda record: record.request)
    assert [record.prompt_tokens for record in by_request] == [40, 25, 300]
    assert [record.output_tokens for record in by_request] == [3, 6, 1]  # the cap is 6
    assert path.name == "load_m_as_recorded__azure_csv.jsonl"


def test_warm_up_is_marked_and_left_out(tmp_path: Path) -> None:
    with batching_server(1e-3, 1e-5) as (server, _):
        job = asked(server.url, tmp_path, rates=(100.0,), duration=0.3)
        (path,) = measure_server(job, show_progress=False)
    records = read_records(path)
    warm = [record for record in records if record.warm_up]
    assert len(warm) == 6
    assert all(record.sent <= 0 for record in warm)
    log = read_log(path)
    assert log.left_out == {"warm-up": 6}
    assert len(log) == len(records) - 6 == summarise(records).planned


def test_a_rate_that_is_finished_is_not_measured_again(tmp_path: Path) -> None:
    with batching_server(1e-3, 1e-5) as (server, engine):
        slow = asked(server.url, tmp_path, rates=(30.0,), duration=0.2)
        (first,) = measure_server(slow, show_progress=False)
        before = first.read_bytes()
        both = asked(server.url, tmp_path, rates=(30.0, 60.0), duration=0.2)
        engine.bodies.clear()
        paths = measure_server(both, show_progress=False)
        assert len(paths) == 2
        assert first.read_bytes() == before
        with pytest.raises(ConfigurationChangedError, match=r"duration: recorded 0.2, now 0.4"):
            measure_server(asked(server.url, tmp_path, rates=(30.0,), duration=0.4))


def test_a_server_that_dies_leaves_what_was_answered(tmp_path: Path) -> None:
    last = death(delta(content="a"), for_good=True)
    # Connections that are open when it dies find no one any more either.
    dying = [*WARM_UP, *SIZES, answer("a", usage=(5, 2)), last, *[death(begun=False)] * 50]
    job = {"rates": (200.0,), "duration": 1.0}
    with ChatServer(dying) as server, pytest.raises(ServerGoneError):
        measure_server(asked(server.url, tmp_path, **job), show_progress=False)
    left = tmp_path / "load_m_rate_200.partial.jsonl"
    statuses = [record.status for record in read_records(left) if not record.warm_up]
    assert statuses.count("ok") >= 1
    assert not (tmp_path / "load_m_rate_200.jsonl").exists()

    with ChatServer([answer("1", usage=(9, 1))] * 1000, port=server.port) as again:
        (path,) = measure_server(asked(again.url, tmp_path, **job), show_progress=False)
    assert {record.status for record in read_records(path)} == {"ok"}
    assert not left.exists()
    kept = tmp_path / "load_m_rate_200.interrupted.jsonl"
    assert [r.status for r in read_records(kept) if not r.warm_up] == statuses


@pytest.mark.parametrize(("concurrencies", "total"), [((1, 2, 4), 5 * 6), ((1,), 5 * 3)])
def test_a_sweep_counts_all_of_its_measurements(concurrencies: tuple[int, ...], total: int) -> None:
    """A prompt that comes while others decode is one of a repetition, if there are others."""
    file = SweepFile(concurrencies, (16, 64), repeats=5)
    assert count_measurements(file) == count_missing(file) == total
    begun = file.with_round(RoundMeasurement(1, 16, 0, 1, 0.01, 60.0, 40.0))
    begun = begun.with_idle(IdleMeasurement(64, 0, 64, 0, 0.1, 0.01, 72.0))
    assert count_measurements(begun) == total
    assert count_missing(begun) == total - 2


def test_the_bar_of_a_sweep_goes_from_none_to_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it shows at the end is where it began and one for each measurement."""
    bar = progress_bar(False)
    monkeypatch.setattr("data_tools.load.session.progress_bar", lambda *_: bar)
    with batching_server(1e-3, 1e-5) as (server, _):
        job = asked(server.url, tmp_path, concurrencies=(1, 2), prompt_lengths=(10,), repeats=1)
        measure_server(job, show_progress=False)
    assert [(task.completed, task.total) for task in bar.tasks] == [(4, 4)]


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    settings = {"concurrencies": (1, 2), "prompt_lengths": (10, 40), "repeats": 2}
    good = [answer(*"abcdefgh", usage=(10, 8))] * 3
    with ChatServer([*WARM_UP, *SIZES, *good, status(500, "no")]) as server:
        job = asked(server.url, tmp_path, **settings)
        with pytest.raises(EndpointStoppedError, match="during the sweep"):
            measure_server(job, show_progress=False)
    done = SweepFile.read(job.sweep_path)
    measured = len(done.idle) + len(done.rounds)
    assert measured >= 2
    again = ChatServer([*WARM_UP, *SIZES, *[answer(*"abcdefgh", usage=(10, 8))] * 99], server.port)
    with again:
        measure_server(asked(again.url, tmp_path, **settings), show_progress=False)
    whole = SweepFile.read(job.sweep_path)
    assert whole.idle[: len(done.idle)] == done.idle
    assert whole.rounds[: len(done.rounds)] == done.rounds
    assert (len(whole.idle), len(whole.rounds), len(whole.conditions)) == (4, 4, 2)


@pytest.mark.parametrize("reply", [status(401, "no key"), status(200, "{}"), death(begun=False)])
def test_a_server_that_does_not_answer_is_not_loaded(reply: object, tmp_path: Path) -> None:
    with ChatServer([reply] * 3) as server:
        job = asked(server.url, tmp_path, rates=(5.0,))
        with pytest.raises(EndpointStoppedError, match="fails to answer a first, simple request"):
            measure_server(job, show_progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_loads_its_model_is_waited_for() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def run(url: str) -> ServerTraits:
        async with ChatClient(url, "m") as client:
            return await warm_up(client, sleep=pause)

    with ChatServer([status(503, "loading"), status(429), *WARM_UP, *SIZES]) as server:
        traits = asyncio.run(run(server.url))
    assert pauses == [0.5, 1.0]
    assert traits.scale is not None
    assert (traits.scale.base, traits.scale.per_word) == (TEMPLATE, 1.0)


def test_a_sweep_needs_token_counts(tmp_path: Path) -> None:
    with ChatServer([answer("1", usage=None)] * 6) as server:
        job = asked(server.url, tmp_path, concurrencies=(1, 2))
        with pytest.raises(EndpointStoppedError, match="reports no usage"):
            measure_server(job, show_progress=False)


def test_a_loop_without_token_counts_cannot_be_calibrated(tmp_path: Path) -> None:
    with ChatServer([answer("1", usage=None)] * 99) as server:
        job = asked(server.url, tmp_path, rates=(50.0,), duration=0.5)
        (path,) = measure_server(job, show_progress=False)
    with pytest.raises(UnreadableFileError, match="did not count the tokens"):
        read_log(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rates": (0.0,)}, "rate=0"),
        ({"rates": (-1.0,)}, "rate=-1"),
        ({"rates": (float("nan"),)}, "rate=nan"),
        ({"rates": (1.0,), "duration": 0.0}, "duration=0"),
        ({"rates": (1e-6,), "duration": 1.0}, "long enough for a request to arrive"),
        ({"rates": (1.0,), "most_in_flight": 0}, "max_in_flight=0"),
        ({"rates": (1.0,), "most_requests": 0}, "most_requests=0"),
        ({"rates": (1.0,), "prompts": ()}, "prompts"),
        ({"concurrencies": (0, 1)}, "concurrency=0"),
        ({"concurrencies": (1,), "prompt_lengths": (0,)}, "prompt_lengths=0"),
    ],
)
def test_settings_are_checked_before_anything_is_sent(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        asked("http://127.0.0.1:1", tmp_path, **settings)


def test_a_finished_loop_without_its_metadata_is_not_believed(tmp_path: Path) -> None:
    with batching_server(1e-3, 1e-5) as (server, _):
        job = asked(server.url, tmp_path, rates=(30.0,), duration=0.2)
        (path,) = measure_server(job, show_progress=False)
    about = path.with_suffix("").with_suffix(".meta.json")
    assert json.loads(about.read_text())["configuration"]["rate"] == 30.0
    about.unlink()
    with pytest.raises(UnreadableFileError, match=r"meta\.json, which says how .* is missing"):
        measure_server(job)
