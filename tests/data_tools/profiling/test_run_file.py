import json

import pytest

from data_tools.profiling.run_file import (
    ConfigurationChangedError,
    RunFile,
    metadata_path,
    read_rows,
)
from edgecloud_gym.files import UnreadableFileError

CONFIGURATION = {"model": "m", "max_new_tokens": 8}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "inference_data_m.jsonl"


def add(path, *prompts, configuration=CONFIGURATION):
    with RunFile(path, configuration, {"load_average": 0.5}) as run:
        for prompt in prompts:
            run.append({"request_text": prompt})
        return run


def test_rows_are_on_disk_the_moment_they_are_appended(path):
    with RunFile(path, CONFIGURATION, {}) as run:
        run.append({"request_text": "é"})
        assert read_rows(path) == [{"request_text": "é"}]


def test_a_second_session_knows_what_is_done_and_adds_to_it(path):
    add(path, "a", "b", "a")
    run = add(path, "c")
    assert run.done == {"a": 2, "b": 1, "c": 1}
    assert [row["request_text"] for row in read_rows(path)] == ["a", "b", "a", "c"]
    sessions = json.loads(metadata_path(path).read_text())["sessions"]
    assert [session["rows_before"] for session in sessions] == [0, 3]


@pytest.mark.parametrize("rest", ['{"request_text": "c', '{"request_text": "c"}', "\xe9"])
def test_a_half_written_last_line_is_dropped(path, rest):
    add(path, "a", "b")
    with path.open("ab") as file:
        file.write(rest.encode("latin-1"))
    run = add(path)
    assert run.repaired
    assert run.done == {"a": 1, "b": 1}
    assert path.read_text().endswith('"b"}\n')


def test_a_file_without_damage_is_left_alone(path):
    add(path, "a")
    before = path.read_bytes()
    assert not add(path).repaired
    assert path.read_bytes() == before


def test_a_changed_configuration_is_refused_showing_the_difference(path):
    add(path, "a")
    with pytest.raises(ConfigurationChangedError, match="another configuration") as refused:
        add(path, "b", configuration={"model": "m", "max_new_tokens": 16, "dtype": "float32"})
    message = str(refused.value)
    assert "max_new_tokens: recorded 8, now 16" in message
    assert "dtype: recorded None, now 'float32'" in message
    assert "model" not in message.split("directory:")[1]
    assert len(read_rows(path)) == 1


def test_rows_of_unknown_configuration_are_refused(path):
    add(path, "a")
    metadata_path(path).unlink()
    with pytest.raises(ConfigurationChangedError, match=r"meta\.json.* is missing"):
        add(path, "b")


def test_metadata_without_rows_binds_nobody(path):
    add(path)
    assert add(path, "a", configuration={"model": "other"}).done == {"a": 1}


def test_a_second_run_on_the_same_file_is_refused_while_the_first_is_open(path):
    pytest.importorskip("fcntl")
    with (
        RunFile(path, CONFIGURATION, {}),
        pytest.raises(BlockingIOError, match="another run"),
    ):
        add(path, "b")
    assert add(path, "a").done == {"a": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a line of JSON"),
        ("[]", "a JSON object is needed, got list"),
        ('{"prompt": "a"}', "not a measurement"),
        ('{"request_text": 5}', "not a measurement"),
        ('{"request_text": "b", "request_text": "c"}', "key 'request_text' occurs twice"),
    ],
)
def test_damage_before_the_last_line_is_reported_with_its_line_number(path, line, message):
    add(path, "a")
    with path.open("a") as file:
        file.write(f'{line}\n{{"request_text": "b"}}\n')
    with pytest.raises(ValueError, match=f"line 2: {message}"):
        add(path)


def test_a_prompt_with_half_a_surrogate_pair_is_kept(path):
    add(path, "broken \ud83d emoji")
    assert read_rows(path) == [{"request_text": "broken \ud83d emoji"}]


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"configuration": [], "sessions": {}}'),
        '{"configuration": {}, "sessions": ["x"]}',
        '{"configuration": {"generation": 5}, "sessions": []}',
    ],
)
def test_damaged_metadata_is_named(path, text):
    add(path, "a")
    metadata_path(path).write_text(text)
    with pytest.raises(UnreadableFileError, match=r"inference_data_m\.meta\.json: "):
        add(path, "b")


def test_names_that_are_half_characters_survive(path):
    configuration = {"model": "\udcff"}  # what a name of bytes that are no UTF-8 becomes
    for prompt in ("a", "b"):
        with RunFile(path, configuration, {}) as run:
            run.append({"request_text": prompt})
    assert len(read_rows(path)) == 2
