"""The network's gradients, the estimator and the regression, against independent ones."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.schedulers.bandits.models.estimator import LatencyEstimator, Training
from agents.schedulers.bandits.models.mlp import MLP, DiagonalPrecision, layers_of
from agents.schedulers.bandits.models.moments import RunningMoments
from agents.schedulers.bandits.models.ridge import Ridge

SIZES = (5, 8, 6, 1)
ALL = np.arange(1000)


def make_network() -> MLP:
    network = MLP(SIZES, np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(0.0, 0.1, len(network.parameters))
    network.parameters = network.parameters + noise.astype(np.float32)
    return network


def contexts(count: int = 7) -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=(count, SIZES[0])).astype(np.float32)


def by_autograd(network: MLP, x: NDArray[np.float32]) -> tuple[Any, Any]:
    """Outputs (n,) and gradients (n, parameters), one request at a time."""
    flat = torch.from_numpy(network.parameters).requires_grad_()
    outputs, gradients = [], []
    for row in torch.from_numpy(x):
        hidden = row
        *layers, (weights, biases) = layers_of(flat, SIZES)
        for w, b in layers:
            hidden = torch.relu(w @ hidden + b)
        output = weights @ hidden + biases
        (gradient,) = torch.autograd.grad(output.sum(), flat)
        outputs.append(output.item())
        gradients.append(gradient.numpy())
    return np.array(outputs), np.stack(gradients)


def test_outputs_against_torch() -> None:
    network, x = make_network(), contexts(100)
    expected, _ = by_autograd(network, x)
    assert network.outputs(x, ALL[:100]) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert network.copy().outputs(x, ALL[3:4]) == pytest.approx(expected[3:4], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("hidden", [(256, 256), (7,), (100, 30, 5)])
def test_a_score_does_not_depend_on_who_else_is_scored(hidden: tuple[int, ...]) -> None:
    network = MLP((20, *hidden, 1), np.random.default_rng(0))
    x = np.random.default_rng(2).normal(size=(100, 20)).astype(np.float32)
    together, widths = network.outputs_and_widths(x, ALL[:100])
    for chosen in ([5], [7, 5], [99, 5, 0], list(range(60))):
        rows = np.array(chosen)
        assert np.array_equal(network.outputs(x, rows), together[rows])
        assert np.array_equal(network.outputs_and_widths(x, rows)[1], widths[rows])


def test_diagonal_width_against_autograd() -> None:
    network, x = make_network(), contexts(60)
    precision = DiagonalPrecision(network, initial=0.7)
    _, gradients = by_autograd(network, x)
    scaled = gradients**2 / SIZES[-2]
    for few in (7, 1, 60):
        expected = np.sqrt((scaled / precision.values).sum(1))
        assert network.outputs_and_widths(x, ALL[:60])[1] == pytest.approx(expected, rel=1e-4)
        before = precision.values
        precision.add(x, ALL[:few])
        assert precision.values == pytest.approx(before + scaled[:few].sum(0), rel=1e-4)


def test_precision_forgets() -> None:
    network, x = make_network(), contexts(2)
    precision = DiagonalPrecision(network, initial=1.0)
    precision.add(x, ALL[:2])
    once = precision.values
    precision.add(x, ALL[:2], discount=0.5)
    assert precision.values == pytest.approx(1.0 + (once - 1.0) * (0.25 + 1.0), rel=1e-5)


class Recorder(np.random.Generator):
    """A generator that keeps the batches which it drew."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(3))
        self.batches: list[NDArray[np.int64]] = []

    def integers(self, *arguments: Any, **options: Any) -> Any:
        self.batches.append(super().integers(*arguments, **options))
        return self.batches[-1]


def test_a_training_step_is_adam_on_hubers_loss() -> None:
    training = Training(hidden=(8, 6), batch_size=4, train_every=4, learning_rate=0.01)
    estimator = LatencyEstimator(SIZES[0], training, np.random.default_rng(1))
    twin = estimator.network.copy()
    parameter = torch.nn.Parameter(torch.from_numpy(twin.parameters))
    adam = torch.optim.Adam([parameter], lr=0.01)
    recorder, rng = Recorder(), np.random.default_rng(2)
    estimator.seed(recorder)
    x = rng.normal(size=(12, SIZES[0])).astype(np.float32)
    times = rng.lognormal(0.0, 2.0, 12)
    for step in range(3):
        estimator.add(x[4 * step : 4 * step + 4], times[4 * step : 4 * step + 4])
        seen, batch = np.log(times[: 4 * step + 4]), recorder.batches[-1]
        target = torch.tensor((np.log(times[batch]) - seen.mean()) / seen.std())
        hidden = torch.tensor(x[batch])
        *layers, (weights, biases) = layers_of(parameter, SIZES)
        for w, b in layers:
            hidden = torch.relu(hidden @ w.t() + b)
        output = (hidden @ weights.t() + biases)[:, 0]
        adam.zero_grad()
        torch.nn.functional.huber_loss(output, target.float()).backward()
        adam.step()
        assert len(recorder.batches) == step + 1
        assert estimator.network.parameters == pytest.approx(
            parameter.detach().numpy(), rel=1e-4, abs=1e-6
        )


def test_estimator_learns_a_curved_function() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 4)).astype(np.float32)
    times = np.exp(np.abs(x[:, 0]) - 0.5 * x[:, 1])
    estimator = LatencyEstimator(4, Training(hidden=(64, 64)), rng)
    estimator.add(x[:3000], times[:3000])
    assert np.corrcoef(_predictions(estimator, x[3000:]), np.log(times[3000:]))[0, 1] > 0.97


def test_estimator_is_repeatable_and_restorable() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    times = np.exp(x[:, 0].astype(float))
    training = Training(hidden=(16,), buffer_size=50)
    first, second = (LatencyEstimator(4, training, np.random.default_rng(3)) for _ in range(2))
    for start in range(0, 300, 7):
        for estimator in (first, second):
            estimator.add(x[start : start + 7], times[start : start + 7])
    assert np.array_equal(_predictions(first, x), _predictions(second, x))
    third = LatencyEstimator(4, training, np.random.default_rng(9))
    third.restore({name: array.copy() for name, array in first.state().items()})
    assert np.array_equal(_predictions(first, x), _predictions(third, x))


def _predictions(estimator: LatencyEstimator, contexts: NDArray[np.float32]) -> NDArray[Any]:
    return estimator.network.outputs(contexts, np.arange(len(contexts)))


@pytest.mark.parametrize(("discount", "follows"), [(1.0, False), (0.99, True)])
def test_an_estimator_that_discounts_follows_a_change(discount: float, follows: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    logs = np.where(np.arange(3000) < 2500, 1.0, -1.0) * x[:, 0]  # the last 500 contradict
    estimator = LatencyEstimator(2, Training(hidden=(32,), discount=discount), rng)
    estimator.add(x, np.exp(logs))
    assert (np.corrcoef(_predictions(estimator, x), -x[:, 0])[0, 1] > 0.9) == follows


@pytest.mark.parametrize("discount", [1.0, 0.95])
def test_moments(discount: float) -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 200)
    moments = RunningMoments(discount)
    moments.update(values)
    weights = discount ** np.arange(199, -1, -1)
    mean = np.average(values, weights=weights)
    assert moments.mean == pytest.approx(mean)
    assert moments.std**2 == pytest.approx(np.average((values - mean) ** 2, weights=weights))
    standardised = (values - moments.mean) / moments.std
    assert moments.times(standardised) == pytest.approx(np.exp(values))


def test_times_are_finite_whatever_is_predicted() -> None:
    """As by a regression with hardly any ridge, in a direction that it has not seen."""
    moments = RunningMoments()
    moments.update(np.array([0.0, 1.0]))
    times = moments.times(np.array([-1e9, -1e4, 0.0, 1e4, 1e9]))
    assert np.all(np.isfinite(times) & (times > 0.0))
    assert np.all(np.diff(times) >= 0.0)
    assert np.isfinite(np.sum(times**2))


def test_no_times_without_a_stream() -> None:
    assert np.isnan(RunningMoments().times(np.zeros(3))).tolist() == [True] * 3


def test_ridge_against_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4))
    times = np.exp(x @ [0.5, -0.2, 0.0, 0.1] + 1.0 + 0.1 * rng.normal(size=3000))
    model = Ridge(4, ridge=2.0)
    for start in range(0, 3000, 3):
        model.add_design(x[start : start + 3])
        model.add_times(x[start : start + 3], times[start : start + 3])
    design = 2.0 * np.eye(4) + x.T @ x
    logs = np.log(times)
    target = (logs - logs.mean()) / logs.std()
    assert model.theta == pytest.approx(np.linalg.solve(design, x.T @ target), rel=1e-6)
    width = np.sqrt(np.diag(x[:5] @ np.linalg.inv(design) @ x[:5].T))
    assert model.width(x[:5]) == pytest.approx(width)
    refitted = Ridge(4, ridge=2.0)
    refitted.moments.update(logs)
    refitted.refit(x, times)
    assert refitted.theta == pytest.approx(model.theta, rel=1e-6)


@pytest.mark.parametrize("ridge", [1.0, 1e-4, 1e-8, 1e-12, 1e-16])
def test_widths_hold_for_the_smallest_ridge(ridge: float) -> None:
    features = np.random.default_rng(0).normal(size=(60, 8))
    features[:, 5:] = features[:, :3] + 1e-3 * features[:, 5:]  # nearly collinear
    model = Ridge(8, ridge)
    for batch in np.split(features, 20):
        model.add_design(batch)
    # Exact through the singular values: every direction is seen, so that none is 1 / ridge.
    _, singular, axes = np.linalg.svd(features, full_matrices=False)
    expected = np.sqrt(np.sum((features @ axes.T) ** 2 / (ridge + singular**2), axis=1))
    np.testing.assert_allclose(model.width(features), expected, rtol=1e-3)
    assert np.isfinite(model.theta).all()


@pytest.mark.parametrize(
    "settings",
    [{"hidden": ()}, {"learning_rate": 0.0}, {"discount": 1.5}, {"buffer_size": -1}],
)
def test_bad_training_settings(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Training(**settings)  # type: ignore[arg-type]
