"""`edgecloud profile` and `calibrate` on a server under load, as a user meets them."""

import os
import signal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from data_tools.cli.app import register
from data_tools.load.measuring import read_records
from edgecloud_gym.engines import load_engine
from tests.data_tools.backends.chat_server import ChatServer, Handler
from tests.data_tools.load.batching_server import batching_server

QUICK = ("--concurrency", "1,2", "--prompt-lengths", "10,40")
LOOPS = ("--rate", 40, "--duration", 0.5, "--max-new-tokens", 4)
ANSWERED = "6 warm-up"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in an empty directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("list one cat\nexplain the sea\n")
    app = typer.Typer()
    register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(item) for item in arguments])


def test_from_server_to_engine_model(run) -> None:
    with batching_server(1e-3, 1e-4) as (server, _):
        common = ("profile", "prompts.txt", "-m", "m", "--endpoint", server.url)
        result = run(*common, *QUICK, *LOOPS, "--engine", "engine.json")
    assert result.exit_code == 0, result.output
    assert "Errors (%), simulated less measured" in result.output
    assert "sent late by" in result.output
    model = load_engine("engine.json")
    assert model.sequences == 2
    assert model.step_times is not None
    assert model.judged["rows"][0]["judged_on"] == "load_m_rate_40"
    results = Path("inference_results")
    logs = (results / "load_m_sweep.json", results / "load_m_rate_40.jsonl")
    result = run("calibrate", *logs, "-o", "again.json", "--no-png")
    assert result.exit_code == 0, result.output
    again = load_engine("again.json")
    assert (again.step_times, again.errors) == (model.step_times, model.errors)


def test_a_sweep_alone_makes_an_engine(run) -> None:
    with batching_server(1e-3, 1e-4) as (server, _):
        common = ("profile", "-m", "m", "--endpoint", server.url)  # no prompts are read
        result = run(*common, *QUICK, "--engine", "engine.json", "--sequences", 7)
    assert result.exit_code == 0, result.output
    assert load_engine("engine.json").sequences == 7
    result = run("calibrate", "inference_results/load_m_sweep.json", "-o", "again.json")
    assert result.exit_code == 2
    assert "a log of requests is needed beside the sweep" in result.output


@pytest.mark.parametrize("at", [1, 5, 12, 65])
def test_ctrl_c_at_every_stage_loses_nothing_finished(at: int, run) -> None:
    """In the warm-up, at its end, in the sweep, in the loop."""
    common = ("profile", "prompts.txt", "-m", "m", *QUICK, *LOOPS)
    with batching_server(1e-3, 1e-4) as (server, engine):

        def interrupting(handler: Handler) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            engine.reply(handler)

        server.replies[at - 1] = interrupting
        result = run(*common, "--endpoint", server.url)
        assert result.exit_code == 130, result.output
        assert "the same command goes on from there" in result.output
        results = Path("inference_results")
        sweep = results / "load_m_sweep.json"
        finished = sweep.read_text() if at == 65 else ""
        assert not (results / "load_m_rate_40.jsonl").exists()
        result = run(*common, "--endpoint", server.url)
        assert result.exit_code == 0, result.output
    if finished:
        assert sweep.read_text() == finished
        kept = read_records(results / "load_m_rate_40.interrupted.jsonl")
        assert "interrupted" in {record.status for record in kept}
    assert {r.status for r in read_records(results / "load_m_rate_40.jsonl")} == {"ok"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0"], "rate=0"),
        (["--rate", "1", "--duration", "-1"], "duration=-1"),
        (["--trace", "absent.csv"], "absent.csv"),
        (["--trace", "prompts.txt"], "prompts.txt"),
        (["--trace", "falling.csv"], "comes before that of row 2"),
        (["--concurrency", "1,x"], "--concurrency='1,x'"),
        (["--concurrency", "0"], "--concurrency='0'"),
        (["--concurrency", ""], "--concurrency='': must be one number or more such as 1,2,4,8"),
        (["--concurrency", "1", "--prompt-lengths", ""], "--prompt-lengths=''"),
        (["--rate", "1", "--repeat", "3"], "--repeat has no effect with --rate"),
        (["--concurrency", "1,2", "--duration", "9"], "--duration has no effect without --rate"),
        (["--concurrency", "1,2", "--max-new-tokens", "9"], "--max-new-tokens has no effect"),
        (["--concurrency", "1,2", "--limit", "9"], "--limit has no effect where no prompts"),
        (["--rate", "1", "--prompt-lengths", "9"], "--prompt-lengths has no effect without"),
        (["--engine", "e.json"], "--engine has no effect with --endpoint without --rate"),
        (["--rate", "1", "--engine", "e.json"], "give --sequences"),
        (["--concurrency", "1,2", "--engine", "e.txt"], "must end in .json"),
        (["--concurrency", "1,2", "--engine", "e.json", "-m", "n"], "is of one model"),
        (["--rate", "1", "--device", "cpu"], "--device has no effect with --endpoint"),
    ],
)
def test_bad_options_are_named(options: list[str], message: str, run) -> None:
    Path("falling.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:04.0,40,3\n2023-11-16 18:17:03.0,25,9\n"
    )
    result = run("profile", "prompts.txt", "-m", "m", "--endpoint", "http://127.0.0.1:9", *options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not Path("inference_results").exists()


def test_an_engine_model_of_a_local_model(run, tiny_model: Path) -> None:
    common = ("profile", "prompts.txt", "-m", f"tiny={tiny_model}", "--max-new-tokens", 4)
    sizes = ("--batch-sizes", "1,2", "--context-lengths", "4,32")
    result = run(*common, *sizes, "--device", "cpu", "--engine", "engine.json")
    assert result.exit_code == 0, result.output
    assert "reading the weights takes" in result.output
    assert "decoded together" not in result.output  # there is no server
    assert "mixed_batches" not in result.output
    model = load_engine("engine.json")
    assert (model.sequences, model.served_model) == (2, tiny_model.name)
    result = run(*common, "--device", "cpu", "--engine", "engine.json")
    assert "needs --batch-sizes" in result.output


def test_bad_numbers_are_refused_before_anything_is_measured(run, tiny_model: Path) -> None:
    common = ("profile", "prompts.txt", "-m", f"tiny={tiny_model}", "--device", "cpu")
    sizes = ("--batch-sizes", "1,2", "--engine", "engine.json")
    for more, said in (
        (("--sequences", 0), "--sequences=0: must be an integer >= 1"),
        (
            ("--context-lengths", "4,99999"),
            "model 'tiny': context_lengths=99999: must be an integer from 1 to",
        ),
    ):
        result = run(*common, *sizes, *more)
        assert (result.exit_code, said in result.output) == (2, True), result.output
        assert not list(Path().rglob("*.jsonl"))


def test_load_needs_a_server(run) -> None:
    result = run("profile", "prompts.txt", "-m", "m", "--rate", 1)
    assert result.exit_code == 2
    assert "--rate has no effect without --endpoint" in result.output


def test_a_server_that_is_not_there(run) -> None:
    with ChatServer([]) as server:
        pass
    result = run("profile", "prompts.txt", "-m", "m", "--endpoint", server.url, *LOOPS)
    assert result.exit_code == 2
    assert "fails to answer a first, simple request: cannot be reached" in result.output
