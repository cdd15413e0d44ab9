import bz2
import gzip
import json
import zipfile

import pandas as pd
import pytest

from data_tools.prompts.builtin import generate_prompts
from data_tools.prompts.sources import load_prompts
from edgecloud_gym.files import UnreadableFileError

ALPACA = [
    {"instruction": f"Do thing {i}.", "input": "with this" if i % 2 else "", "output": "x"}
    for i in range(10)
]
EXPECTED = [f"Do thing {i}." + ("\n\nwith this" if i % 2 else "") for i in range(10)]


def write(tmp_path, suffix, records):
    path = tmp_path / f"prompts{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(records))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pd.DataFrame(records).to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_files_are_read_in_order_with_the_input_below_the_instruction(tmp_path, suffix):
    assert load_prompts(write(tmp_path, suffix, ALPACA)) == EXPECTED


def test_split_slices_and_limits(tmp_path):
    path = write(tmp_path, ".json", ALPACA)
    assert load_prompts(path, split="train[2:6]") == EXPECTED[2:6]
    assert load_prompts(path, split="train[2:6]", limit=3) == EXPECTED[2:5]
    assert load_prompts(path, limit=99) == EXPECTED


def test_a_directory_of_parquet_shards_as_the_hub_lays_them_out(tmp_path):
    data = tmp_path / "dataset--tatsu-lab--alpaca" / "data"
    data.mkdir(parents=True)
    pd.DataFrame(ALPACA).to_parquet(data / "train-00000-of-00001.parquet")
    assert load_prompts(str(data.parent), split="train[:4]") == EXPECTED[:4]


def test_a_column_can_be_named_or_found(tmp_path):
    path = write(tmp_path, ".jsonl", [{"prompt": "p", "other": "o"}])
    assert load_prompts(path) == ["p"]
    assert load_prompts(path, column="other") == ["o"]
    with pytest.raises(ValueError, match=r"column 'nothing' is not in .+: it has prompt"):
        load_prompts(path, column="nothing")


def test_records_without_a_prompt_are_refused_naming_their_columns(tmp_path):
    path = write(tmp_path, ".jsonl", [{"x": "1", "y": "2"}])
    with pytest.raises(ValueError, match="no prompt column among x, y"):
        load_prompts(path)


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"instruction": "Do.", "input": "this", "output": "x"}, "Do.\n\nthis"),
        ({"instruction": "Do.", "input": "<noinput>"}, "Do."),
        ({"instruction": "Do.", "input": " "}, "Do."),
        ({"instruction": "Do.", "input": None}, "Do."),
        ({"instruction": "Do.", "context": "A text.", "response": "x"}, "Do.\n\nA text."),
        ({"id": 1, "title": "t", "context": "A text.", "question": "Who?"}, "Who?\n\nA text."),
        ({"question": "Who?", "passage": "A text.", "answer": True}, "Who?\n\nA text."),
        ({"system_prompt": "Be brief.", "question": "Who?"}, "Be brief.\n\nWho?"),
        ({"system_prompt": "", "question": "Who?"}, "Who?"),
        ({"text": "Who?", "role": "prompter"}, "Who?"),
        ({"text": "Who?"}, "Who?"),
        ({"prompt": "Write as a nurse.", "role": "nurse"}, "Write as a nurse."),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "x"}]},
            "Hi",
        ),
        (
            {"conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "gpt", "value": "Hello!"},
                {"from": "human", "value": "Hi"},
                {"from": "human", "value": "Again"},
            ]},
            "Be brief.\n\nHi",
        ),
        ({"messages": [{"role": "user", "content": "Hi"}], "text": "user: Hi"}, "Hi"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, "Hi"),
        ({"prompt": [{"role": "user", "content": "Hi"}], "chosen": []}, "Hi"),
        ({"prompt": ["Hi", "And then?"]}, "Hi"),
        ({"prompt": "Hi", "messages": []}, "Hi"),
        ({"question_id": 81, "category": "writing", "turns": ["Hi", "And then?"]}, "Hi"),
        ({"question_id": "a", "turns": [{"content": "Hi"}]}, "Hi"),
        (
            {"conversation_id": "a", "model": "m", "turn": 1, "language": "English",
             "conversation": [{"content": "Hi", "role": "user"}]},
            "Hi",
        ),
        ({"conversation_a": [{"content": "Hi", "role": "user"}], "winner": "tie"}, "Hi"),
        ({"id": "0", "data": ["Hi", "Hello!"]}, "Hi"),
        ({"task_id": "HumanEval/0", "prompt": "def f():\n", "test": "x"}, "def f():\n"),
        ({"inputs": "Hi", "targets": "x"}, "Hi"),
        ({"question": "2+2?", "choices": ["3", "4"], "answer": 1}, "2+2?\n\nA. 3\nB. 4"),
        ({"question": "2+2?", "options": ["3", "4"]}, "2+2?\n\nA. 3\nB. 4"),
        (
            {"question": "2+2?", "choices": {"text": ["3", "4"], "label": ["1", "2"]}},
            "2+2?\n\n1. 3\n2. 4",
        ),
        ({"question": "2+2?", "options": {"A": "3", "B": "4"}}, "2+2?\n\nA. 3\nB. 4"),
        (
            {"question": "2+2?", "options": [{"key": "A", "value": "3"}]},
            "2+2?\n\nA. 3",
        ),
        ({"question": "2+2?", "options": {"temperature": 0}}, "2+2?"),
        ({"question": "Who?", "article": "A text.", "options": ["x"]}, "Who?\n\nA text.\n\nA. x"),
        ({"input": "Who?", "context": "A text.", "answers": ["x"]}, "Who?\n\nA text."),
        ({"instruction": "Do.", "input": "N/A"}, "Do."),
        ({"instruction": "Do.", "instances": [{"input": "this", "output": "x"}]}, "Do.\n\nthis"),
        (
            {"prompt": "Hi", "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
            ]},
            "Be brief.\n\nHi",
        ),
        (
            {"system_prompt": "Be brief.", "conversations": [
                {"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hi"}
            ]},
            "Be brief.\n\nHi",
        ),
        ({"conversation": [{"input": "Hi", "output": "Hello!"}]}, "Hi"),
        ({"prompt": {"text": "Hi", "role": "prompter", "replies": []}}, "Hi"),
        ({"prompt": "2+2?", "choices": [{"message": "4"}]}, "2+2?"),
        ({"input": "Hi", "target": "x"}, "Hi"),
        ({"instruction": "  Keep spaces. \n"}, "  Keep spaces. \n"),
    ],
)  # fmt: skip
def test_layouts_of_published_datasets(tmp_path, record, prompt):
    assert load_prompts(write(tmp_path, ".jsonl", [record])) == [prompt]


def test_turns_of_others_are_no_prompts(tmp_path):
    turns = [
        {"text": "Who?", "role": "prompter"},
        {"text": "Nobody.", "role": "assistant"},
        {"text": "Why?", "role": "prompter"},
    ]
    path = write(tmp_path, ".jsonl", turns)
    assert load_prompts(path) == ["Who?", "Why?"]
    assert load_prompts(path, limit=2) == ["Who?", "Why?"]


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"instruction": 5}, "field 'instruction' must be text, got int 5"),
        ({"instruction": None}, "field 'instruction' must be text, got nothing"),
        ({"prompt": "  \n"}, "field 'prompt' is blank"),
        ({"prompt": ""}, "field 'prompt' is blank"),
        ({"prompt": {"a": 1}}, "field 'prompt' must be text, got dict"),
        ({"prompt": True}, "field 'prompt' must be text, got bool"),
        ({"instruction": "Do.", "input": 5}, "field 'input' must be text, got int 5"),
        (
            {"question": "Who?", "choices": [1, 2]},
            "'choices' must be a list of texts, or .*column=",
        ),
        ({"question": "Who?", "options": "a|b"}, "'options' must be a list of texts, or .*column="),
        ({"question": "Who?", "context": ["a"]}, "field 'context' must be text.* column="),
        ({"conversations": "Hi"}, "field 'conversations' must be a list of turns, got str"),
        ({"conversations": []}, "field 'conversations' has no human turn"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "'conversations' has no human turn"),
        ({"conversations": [{"from": "human", "value": None}]}, "'conversations' must be text"),
        ({"conversations": [{"who": "human"}]}, "list of turns with role and content"),
        ({"conversations": [5]}, "list of turns with role and content"),
        ({"text": "x", "role": {"a": 1}}, "field 'role' must say who speaks, got dict"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "'messages' has no human turn"),
        ({"text": "x", "role": "narrator"}, "field 'role' must say who speaks, got str 'narrator'"),
        ({"x": 1}, "no prompt column among x"),
        ({"prompt": "a \ud800"}, "field 'prompt' holds half a character"),
        ({"question": "a", "context": "\ud800"}, "field 'context' holds half a character"),
        ({"messages": [{"role": "user", "content": "\udc00"}]}, "'messages' holds half a char"),
        ({"paragraphs": [{"context": "a"}]}, "paragraph 1: field 'qas' must be a list of quest"),
        ({"paragraphs": [{"context": "a", "qas": [{"id": 1}]}]}, "question 1: no prompt column"),
    ],
)
def test_a_record_without_a_usable_prompt_is_named_with_its_field(tmp_path, record, fault):
    good = {"prompt": "Hi"}
    path = write(tmp_path, ".jsonl", [good, record, good])
    with pytest.raises(UnreadableFileError, match=rf"prompts\.jsonl, line 2[:,] .*{fault}"):
        load_prompts(path)
    with pytest.warns(UserWarning, match=rf"left out 1 records; the first: line 2[:,] .*{fault}"):
        assert load_prompts(path, on_error="skip") == ["Hi", "Hi"]
    path = write(tmp_path, ".json", [good, record])
    with pytest.raises(UnreadableFileError, match=rf"prompts\.json, record 2[:,] .*{fault}"):
        load_prompts(path)


@pytest.mark.parametrize("value", [5, None, "", {"a": 1}])
def test_a_named_column_is_checked_as_well(tmp_path, value):
    path = write(tmp_path, ".jsonl", [{"other": value, "prompt": "p"}])
    with pytest.raises(UnreadableFileError, match="line 1: field 'other'"):
        load_prompts(path, column="other")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u[1].jsonl", b'{"prompt": "a"}\n{"prompt": "b"}\n'),
        ("upper.JSONL", b'{"prompt": "a"}\n{"prompt": "b"}\n'),
        ("bom.jsonl", b'\xef\xbb\xbf\n{"prompt": "a"}\n\n{"prompt": "b"}\n'),
        ("g.jsonl.gz", gzip.compress(b'{"prompt": "a"}\n{"prompt": "b"}\n')),
        ("g.txt.bz2", bz2.compress(b"a\nb\n")),
        ("q.csv", b'"prompt",n\na,1\nb,2\n'),
        ("q.txt", b"\xef\xbb\xbfa\r\n\r\nb"),
        ("list.json", b'["a", "b"]'),
        ("list.json", b'[{"prompt": "a"}, {"prompt": "b"}]'),
        ("in_object.json", b'{"data": [{"prompt": "a"}, {"prompt": "b"}]}'),
        ("lines.json", b'{"prompt": "a"}\n{"prompt": "b"}\n'),
        ("versioned.json", b'{"version": "2", "data": [{"prompt": "a"}, {"prompt": "b"}]}'),
        ("named.json", b'{"1": {"prompt": "a"}, "2": {"prompt": "b"}}'),
        ("columns.json", b'{"prompt": ["a", "b"], "id": [1, 2]}'),
        ("texts.json", b'{"prompts": ["a", "b"]}'),
        ("[d]/data/train-00000-of-00001.jsonl", b'{"prompt": "a"}\n{"prompt": "b"}\n'),
    ],
)
def test_files_of_any_name_and_packing(tmp_path, name, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert load_prompts(str(path)) == ["a", "b"]
    assert load_prompts(name.partition("/")[0]) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "holds no prompts"),
        ("empty.json", b"\n", "holds no prompts"),
        ("empty.txt", b"\n", "holds no prompts"),
        ("empty.csv", b"prompt\n", "holds no prompts"),
        ("latin.jsonl", b'{"prompt": "na\xefve"}', r"latin\.jsonl, line 1: not a line of JSON"),
        ("latin.txt", b"a\nna\xefve", r"latin\.txt, line 2: not UTF-8"),
        ("latin.csv", b"prompt\nna\xefve", r"latin\.csv, line 2: not UTF-8 text"),
        ("latin.json", b'["na\xefve"]', r"latin\.json: not JSON"),
        ("half.json", b'[{"prompt": "a"}', r"half\.json: not JSON"),
        (
            "twice.json",
            b'[{"prompt": "a", "prompt": "b"}]',
            r"twice\.json: key 'prompt' occurs twi",
        ),
        ("twice.csv", b"prompt,prompt\na,b", r"twice\.csv: column 'prompt' occurs twice"),
        ("cut.jsonl.gz", gzip.compress(b'{"prompt": "a"}\n' * 99)[:30], "damaged or cut short"),
        ("no.parquet", b"no", r"no\.parquet cannot be read as Parquet"),
        ("many.json", b'{"x": [{"prompt": "a"}], "y": [{"prompt": "a"}]}', "no prompt column am"),
        ("frame.json", b'{"prompt": {"0": "a", "1": "b"}}', "'prompt' must be text, got dict"),
        ("five.json", b"5", r"five\.json: must hold a list of records"),
        ("numbers.json", b"[5]", "record 1: a JSON object is needed, got int 5"),
        ("prompts.docx", b"x", r"prompts\.docx: must end in \.json"),
        ("prompts.jsonl.zst", b"\x28\xb5\x2f\xfd x", r"prompts\.jsonl\.zst: is packed with zstd"),
    ],
)
def test_files_that_hold_no_prompts_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message):
        load_prompts(str(tmp_path / name))


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {"context": "One.", "qas": [{"question": "Who?", "id": "1", "answers": []}]},
                {"context": "Two.", "qas": [{"question": q, "id": q} for q in ("Why?", "How?")]},
            ],
        },
        {"title": "U", "paragraphs": [{"context": "", "qas": [{"question": "Where?"}]}]},
    ],
}


def test_the_nested_file_of_squad(tmp_path):
    path = write(tmp_path, ".json", SQUAD)
    expected = ["Who?\n\nOne.", "Why?\n\nTwo.", "How?\n\nTwo.", "Where?"]
    assert load_prompts(path) == expected
    assert load_prompts(path, split="train[1:3]") == expected[1:3]
    assert load_prompts(path, column="question") == ["Who?", "Why?", "How?", "Where?"]
    assert load_prompts(write(tmp_path, ".jsonl", SQUAD["data"])) == expected
    SQUAD["data"][0]["paragraphs"][1]["qas"][1]["question"] = 5
    fault = r"record 1, paragraph 2, question 2: field 'question' must be text, got int 5"
    with pytest.raises(UnreadableFileError, match=fault):
        load_prompts(write(tmp_path, ".json", SQUAD))


def test_a_conversation_alone_in_a_json_file(tmp_path):
    record = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "x"}]}
    for value in (record, {"id": "a", **record}, [record]):
        assert load_prompts(write(tmp_path, ".json", value)) == ["Hi"]


def test_a_zip_is_of_the_format_of_the_file_inside(tmp_path):
    path = tmp_path / "my.zip"
    for name, text in (("a.csv", "prompt\na\n"), ("a.txt", "a"), ("d/a.json", '["a"]')):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, text)
        assert load_prompts(str(path)) == ["a"]
        assert load_prompts(str(tmp_path)) == ["a"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", text)
    with pytest.raises(UnreadableFileError, match=r"my\.zip: .* holds 2 \(d/a\.json, b\.csv\)"):
        load_prompts(str(path))


def test_a_directory_with_other_zips(tmp_path):
    (tmp_path / "train.txt").write_text("a")
    (tmp_path / "pictures.zip").write_bytes(b"PK\x03\x04")
    assert load_prompts(str(tmp_path)) == ["a"]
    (tmp_path / "train2.csv.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnreadableFileError, match=r"train2\.csv\.zip: damaged"):
        load_prompts(str(tmp_path))


@pytest.fixture
def repository(tmp_path):
    """A dataset's repository of two configurations, as the hub has them."""
    for name, prompt in (("main", "a"), ("other", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(json.dumps({"question": prompt}) + "\n")
    lines = ["---", "configs:"]
    for config, folder in (("first", "main"), ("second", "other")):
        lines += [f"- config_name: {config}", f"  data_files: {folder}/*.jsonl"]
    (tmp_path / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(tmp_path)


def test_a_configuration_is_named_behind_a_colon(repository):
    with pytest.raises(UnreadableFileError, match=r"in main, other: name one, as in .*:main"):
        load_prompts(repository)
    for config, prompt in (("main", "a"), ("other", "b"), ("first", "a"), ("second", "b")):
        assert load_prompts(f"{repository}:{config}") == [prompt]
    with pytest.raises(ValueError, match=r"'third' not found.*behind a colon"):
        load_prompts(f"{repository}:third")


def test_a_repository_that_cannot_be_read_is_named(repository, tmp_path):
    (tmp_path / "other" / "train.jsonl").write_text('{"question": 5}\n{"question": {"a": ')
    with pytest.raises(UnreadableFileError, match=rf"{tmp_path}: "):
        load_prompts(f"{repository}:second")


def test_a_configuration_on_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr("data_tools.prompts.sources.require_on_hub", lambda *of: asked.append(of))

    def load(path, *, name, split):
        asked.append((path, name, split))
        if name is None:
            raise ValueError("Config name is missing. Please pick one among: ['main', 'socratic']")
        return [{"question": "a"}]

    monkeypatch.setattr("datasets.load_dataset", load)
    assert load_prompts("openai/gsm8k:main", split="test") == ["a"]
    assert asked == [("openai/gsm8k", "dataset"), ("openai/gsm8k", "main", "test")]
    with pytest.raises(ValueError, match=r"'socratic'.*behind a colon, as in openai/gsm8k:CONFIG"):
        load_prompts("openai/gsm8k")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", b"a\nna\xefve\nb"),
        ("p.csv", b"prompt\na\nna\xefve\nb\n"),
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt": "na\xefve"}\n{"prompt": "b"}'),
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt": "\\ud800"}\n{"prompt": "b"}'),
        ("p.json", b'["a", "\\udfff", "b"]'),
    ],
)
def test_what_is_no_text_concerns_its_record_alone(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=rf"{name}, (line|record) \d: "):
        load_prompts(str(path))
    with pytest.warns(UserWarning, match="left out 1 records"):
        assert load_prompts(str(path), on_error="skip") == ["a", "b"]


def test_a_directory_with_splits(tmp_path):
    for name in ("train-0.jsonl", "train-1.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps({"prompt": name}) + "\n")
    (tmp_path / "README.md").write_text("x")
    assert load_prompts(str(tmp_path)) == ["train-0.jsonl", "train-1.jsonl"]
    assert load_prompts(str(tmp_path), split="test") == ["test.jsonl"]
    assert load_prompts(str(tmp_path), split="train[1:]+test") == ["train-1.jsonl", "test.jsonl"]
    with pytest.raises(ValueError, match="validation"):
        load_prompts(str(tmp_path), split="validation")


def test_a_directory_of_several_data_sets_is_refused(tmp_path):
    for name in ("main", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(UnreadableFileError, match="several data sets, in main, other"):
        load_prompts(str(tmp_path))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UnreadableFileError, match="holds no data files"):
        load_prompts(str(tmp_path / "nothing"))


def test_a_file_with_the_name_of_the_built_in_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "builtin").mkdir()
    (tmp_path / "builtin" / "mine.txt").write_text("a\n")
    with pytest.warns(UserWarning, match=r"'\./builtin' would be what lies here"):
        assert len(load_prompts("builtin", limit=5)) == 5
    assert load_prompts("./builtin") == ["a"]


def test_the_built_in_set():
    assert load_prompts("builtin", limit=5) == [prompt.text for prompt in generate_prompts(5)]


def test_a_missing_file_is_named(tmp_path):
    for name in ("nothing.jsonl", "nothing.CSV", "nothing.jsonl.gz", "nothing"):
        with pytest.raises(FileNotFoundError, match=rf"{name} does not exist"):
            load_prompts(str(tmp_path / name))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="limit=0: must be an integer >= 1"):
        load_prompts("builtin", limit=0)


def test_the_alpaca_sample(shared_dir):
    path = shared_dir / "data" / "alpaca_sample.json"
    prompts = load_prompts(str(path), split="train[:20]")
    records = json.loads(path.read_text())
    assert len(prompts) == 20
    assert prompts[0].startswith(records[0]["instruction"])


def test_datasets_of_the_library_datasets():
    datasets = pytest.importorskip("datasets")
    rows = {
        "instruction": ["Say yes.", "Tell a story."],
        "input": ["", ""],
        "output": ["Yes.", "…"],
    }
    train = datasets.Dataset.from_dict(rows)
    both = datasets.DatasetDict(train=train, test=train.select([1]))
    assert load_prompts(train) == ["Say yes.", "Tell a story."]
    assert load_prompts(train.to_iterable_dataset(), limit=1) == ["Say yes."]
    assert load_prompts(both, split="test", column="instruction") == ["Tell a story."]
    with pytest.raises(ValueError, match="split='validation': the dataset has train, test"):
        load_prompts(both, split="validation")
    with pytest.raises(UnreadableFileError, match="the Dataset, row 1"):
        load_prompts(datasets.Dataset.from_dict({"number": [1]}))
    with pytest.raises(TypeError, match="must be a name, a path or a dataset"):
        load_prompts(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"source: has the row 'Say yes.'; rows must be mappings"):
        load_prompts(["Say yes."])
