"""What can be known of a request before it is served: its time and its answer's length."""

from agents.prediction.distribution import Prediction
from agents.prediction.loading import (
    bundled_predictors,
    has_bundled_predictor,
    load_predictor,
    predictor_for,
)
from agents.prediction.predictor import Predictor

__all__ = [
    "Prediction",
    "Predictor",
    "bundled_predictors",
    "has_bundled_predictor",
    "load_predictor",
    "predictor_for",
]
