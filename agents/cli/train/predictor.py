"""``edgecloud train predictor``: fits one on train prompts and judges it on test prompts."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from agents.experiments.identity.fingerprint import identify
from agents.experiments.identity.versions import versions
from agents.prediction import Predictor
from agents.prediction.scoring import GROUPS, Scores, ceiling, measurement_variance, score
from agents.report.calibration import draw_calibration
from data_tools.cli.console import warn
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.dataset.files import locate
from edgecloud_gym.files import check_writable
from edgecloud_gym.wording import shown

PREDICTOR: Final = "predictor"
SETTINGS: Final = ("embedding_scale", "token_scale", "ridge", "supports")
_FEWEST: Final = 10  # test prompts for a judgement


def train_predictor(dataset: str, options: Mapping[str, Any], seed: int, output: Path) -> None:
    """Fits a predictor, prints how good it is, draws its calibration and saves it.

    Args:
        dataset: A bundled name or a path.
        options: Of `SETTINGS`, as `Predictor.fit` takes them.
        seed: Random seed.
        output: Its file; the picture lies beside it.

    Raises:
        OSError: If a file cannot be read or written.
        TypeError: If there is no such setting.
        ValueError: If the dataset has no embeddings or too few prompts, a setting is out of
            range, or the file holds something else.
    """
    for name in options:
        if name not in SETTINGS:
            raise TypeError(f"predictor: no setting {shown(name)}; it has {', '.join(SETTINGS)}")
    _check_replaceable(output)
    picture = output.with_suffix(".png")
    for path in (output, picture):
        check_writable(path)
    data = load_dataset(dataset)
    started = time.perf_counter()
    predictor = Predictor.fit(data, seed=seed, **options)
    seconds = time.perf_counter() - started
    predictor.save(output, _training(data, options, seed, seconds))
    typer.echo(f"predictor has learnt from {predictor.rows:,} prompts in {seconds:,.1f} s.")
    try:
        test = data.rows("test")
    except ValueError:
        test = np.empty(0, np.int32)
    if len(test) < _FEWEST:
        warn(f"{len(test)} test prompts are too few to judge it by")
    else:
        tokens = data.response_tokens
        prediction = predictor.predict_dataset(data, test)
        scores = score(
            prediction, data.base_latency[test], None if tokens is None else tokens[test]
        )
        _print(scores, _ceiling(data, dataset, test))
        draw_calibration(scores, f"{data.name}: {len(test):,} test prompts", picture)
        typer.echo(f"Calibration drawn in {picture}")
    typer.echo(f"Saved to {output}")


def _check_replaceable(output: Path) -> None:
    """Raises ``ValueError`` if a file is there and holds something else than a predictor."""
    if not output.exists():
        return
    try:
        Predictor.load(output)
    except ValueError as error:
        raise ValueError(
            f"--output {output}: is there already, and holds no predictor; name another file or "
            "remove it"
        ) from error


def _training(
    data: RequestDataset, options: Mapping[str, Any], seed: int, seconds: float
) -> dict[str, Any]:
    """Returns what the file says of how it came about."""
    return {
        "settings": {"dataset": identify(data), "split": "train", **options},
        "seed": seed,
        "seconds": round(seconds, 1),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": dict(versions()),
        "machine": platform.platform(),
    }


def _ceiling(data: RequestDataset, dataset: str, rows: Any) -> str:
    """Returns in words how well times could be predicted at best, as far as that is known."""
    known = measurement_variance(locate(dataset).requests)
    if known is None:
        return "unknown: no prompt was measured again"
    variance, prompts = known
    return f"{ceiling(data, rows, variance):.3f} ({prompts} prompts measured again)"


def _print(scores: Scores, highest: str) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("test prompts", f"{scores.requests:,}", ""):
        table.add_column(title)
    rows = [
        ("R2 of log time", f"{scores.r2:.3f}", f"at best {highest}"),
        ("Kendall's tau", f"{scores.kendall:.3f}", "order of predicted and true times; -1 to 1"),
        ("concordance", f"{scores.concordance:.3f}", "pairs in the right order; 0.5 by chance"),
        ("log score", f"{scores.log_score:.3f}", "-log p(T), nats; lower is better"),
        ("CRPS", f"{scores.crps:.3f} s", "absolute error of a forecast with spread"),
        ("expected / true", f"{scores.expected_ratio:.3f}", "mean times; 1 if calibrated"),
        ("tau of tokens", f"{scores.tokens_kendall:.3f}", "order of the answers' lengths"),
    ]
    for row in rows:
        table.add_row(*row)
    fifths = zip(scores.expected, scores.observed, strict=True)
    table.add_row(
        f"by {GROUPS} groups",
        "",
        ", ".join(f"{expected:.2f} / {true:.2f}" for expected, true in fifths) + " s",
    )
    Console().print(table)
