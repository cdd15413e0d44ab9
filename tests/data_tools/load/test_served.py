"""From two servers that are not ours to engine models that a load tests, on the CPU."""

from pathlib import Path

import pytest
from transformers.utils.import_utils import is_serve_available

from data_tools.calibration import calibrate, read_log, read_steps
from data_tools.load.measuring import read_records
from data_tools.load.session import ServerUnderLoad, measure_server
from tests.data_tools.backends.test_endpoint_served import free_port, served
from tests.data_tools.load import llama_server

PROMPTS = [
    "List one cat.",
    "Explain the sea.",
    "Write two sentences about a dog.",
    "Count to five.",
]


@pytest.mark.skipif(bool(llama_server.missing()), reason=llama_server.missing() or "it is there")
def test_llamacpp(tmp_path: Path) -> None:
    """The errors are printed and bounded loosely: a test's machine does other things as well."""
    with llama_server.served() as url:
        job = ServerUnderLoad(
            endpoint=url,
            model="smollm2",
            name="llamacpp",
            output_dir=tmp_path,
            prompts=PROMPTS,
            concurrencies=(1, 2, 5),
            prompt_lengths=(32, 64),
            rates=(2.5,),
            duration=7.0,
            max_new_tokens=16,
            repeats=1,
        )
        (path,) = measure_server(job, show_progress=False)
    records = [record for record in read_records(path) if not record.warm_up]
    assert {record.status for record in records} == {"ok"}
    assert all(record.counted and record.output_tokens <= 16 for record in records)
    assert any(record.cached_tokens for record in records)  # the chat template's own
    steps = read_steps(job.sweep_path)
    assert steps.sequences >= llama_server.SEQUENCES  # a client held up may see more
    assert 16 < steps.shared_prefix < 32  # of the chat template
    result = calibrate([read_log(path)], sweep=steps, lookahead=False)
    print(result.model.errors)
    assert -0.8 < result.model.errors["e2e_mean"] < 4.0  # a factor of five either way


@pytest.mark.skipif(
    not is_serve_available(), reason="transformers serve needs transformers[serving]"
)
def test_transformers_serve(tiny_model: Path, tmp_path: Path) -> None:
    port = free_port()
    with served(
        tiny_model,
        port,
        "--continuous-batching",
        "--cb-num-blocks",
        "64",
        "--cb-max-batch-tokens",
        "256",
    ):
        job = ServerUnderLoad(
            endpoint=f"http://127.0.0.1:{port}",
            model=str(tiny_model),
            name="tiny",
            output_dir=tmp_path,
            prompts=["list one cat", "explain the sea", "write two"],
            concurrencies=(1, 2),
            prompt_lengths=(4, 16),
            rates=(4.0,),
            duration=4.0,
            max_new_tokens=6,
            repeats=1,
        )
        (path,) = measure_server(job, show_progress=False)
    records = [record for record in read_records(path) if not record.warm_up]
    assert {record.status for record in records} == {"ok"}
    assert read_steps(job.sweep_path).engine(sequences=4).sequences == 4
    assert len(read_log(path)) == len(records)
