"""What a calibration finds: an engine model, how far it is from logs, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_tools.calibration.errors import (
    ERRORS,
    Times,
    chosen,
    measured,
    relative_errors,
    simulated,
)
from data_tools.calibration.fit import Part
from edgecloud_gym.engines import TIMES, EngineModel


@dataclass(frozen=True)
class Judgement:
    """How a model does on requests.

    Attributes:
        fitted_on: What it was fitted on; empty if on nothing.
        judged_on: The requests.
        errors: Relative errors by name, of `errors.ERRORS`.
        fitted: Whether these very requests were fitted.
    """

    fitted_on: str
    judged_on: str
    errors: Mapping[str, float]
    fitted: bool


@dataclass(frozen=True)
class Calibration:
    """A fitted engine model and all that is known of its fit.

    Attributes:
        model: The engine model, with `errors`, `intervals` and what they were measured on.
        judgements: One per row of the table of errors.
        notes: What the logs cannot tell, and what was done with them.
        pairs: Measured and simulated times of each log, by its name, for the picture.
    """

    model: EngineModel
    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...]
    pairs: Mapping[str, tuple[Times, Times]]


def errors_on(model: EngineModel, part: Part) -> dict[str, float]:
    """Returns the errors of a model on the requests that count."""
    which = part.counted
    real, made = measured(part.log), simulated(model, part.log)
    return relative_errors(chosen(real, which), chosen(made, which), part.log.output[which])


def rounded(model: EngineModel) -> EngineModel:
    """Returns the model with its numbers in four digits, as a file shows them."""
    return model.replaced(**{key: float(f"{getattr(model, key):.4g}") for key in TIMES})


def with_errors(
    model: EngineModel,
    judgements: Sequence[Judgement],
    spans: Mapping[str, tuple[float, float] | None],
    notes: Sequence[str],
    described: Mapping[str, Any],
) -> EngineModel:
    """Puts the worst error on what was not fitted beside the numbers."""
    aside = [row for row in judgements if not row.fitted] or list(judgements)
    worst = {key: max((row.errors[key] for row in aside), key=abs) for key in ERRORS}
    return replace(
        model,
        **described,
        errors={key: round(value, 5) for key, value in worst.items()},
        intervals={
            key: None if span is None else [float(f"{bound:.4g}") for bound in span]
            for key, span in spans.items()
        },
        judged={
            "rows": [
                {"fitted_on": row.fitted_on, "judged_on": row.judged_on, "fitted": row.fitted}
                | {key: round(value, 5) for key, value in row.errors.items()}
                for row in judgements
            ],
            "notes": list(notes),
        },
    )
