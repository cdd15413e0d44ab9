"""Predictions of a whole dataset, as wrappers take them."""

from __future__ import annotations

from typing import Final

import numpy as np

from agents.prediction.distribution import Prediction
from agents.prediction.predictor import Predictor
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wrappers.forecast import Forecast

LONG: Final = 4.0  # s; the probability to exceed it is one of the features
FOLDS: Final = 5


def forecast(predictor: Predictor, dataset: RequestDataset) -> Forecast:
    """Returns what is predicted of each row of a dataset.

    Raises:
        ValueError: If the dataset has no embeddings, or of another width.
    """
    return as_forecast(predictor.predict_dataset(dataset))


def cross_fitted(
    predictor: Predictor, dataset: RequestDataset, folds: int = FOLDS, seed: int = 0
) -> Forecast:
    """Returns the same, but of the train rows as `cross_predicted` has them."""
    return as_forecast(cross_predicted(predictor, dataset, folds, seed))


def cross_predicted(
    predictor: Predictor, dataset: RequestDataset, folds: int = FOLDS, seed: int = 0
) -> Prediction:
    """Returns predictions of all rows; of the train rows, of others that did not see them.

    A predictor knows the prompts that it was fitted on far better than any it will meet; a policy
    that learnt from such predictions would trust them too much. Those of the train rows come from
    predictors that were fitted with the same settings on the other folds.

    Args:
        predictor: Predicts the rows of the test side, and has the settings.
        dataset: The requests.
        folds: How many parts the train rows are cut into.
        seed: Of the cut.

    Raises:
        ValueError: If the dataset has no embeddings, or of another width.
    """
    known = predictor.predict_dataset(dataset)
    mean, std, tokens = (
        known.log_time_mean.copy(),
        known.log_time_std.copy(),
        known.output_tokens.copy(),
    )
    rows = np.random.default_rng(seed).permutation(dataset.rows("train"))
    kernel = predictor.features.kernel
    for fold in np.array_split(rows, folds):
        others = Predictor.fit(
            dataset,
            np.setdiff1d(rows, fold),
            embedding_scale=kernel.embedding_scale,
            token_scale=kernel.token_scale,
            ridge=predictor.ridge,
        )
        said = others.predict_dataset(dataset, fold)
        mean[fold], std[fold] = said.log_time_mean, said.log_time_std
        tokens[fold] = said.output_tokens
    return Prediction(mean, std, tokens)


def as_forecast(prediction: Prediction) -> Forecast:
    """Returns predictions of all rows of a dataset as wrappers take them."""
    tokens = prediction.output_tokens
    return Forecast(
        prediction.expected_time,
        np.maximum(1.0, tokens) if np.all(np.isfinite(tokens)) else None,
        {"spread": prediction.log_time_std, "long": prediction.exceeds(LONG)},
    )
