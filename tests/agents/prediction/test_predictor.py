"""The predictor against scikit-learn's Gaussian process, against refits, and on drawn data."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from agents.checkpoint import write_checkpoint
from agents.experiments.design.replay import ReplayedDataset
from agents.experiments.identity.fingerprint import identify
from agents.prediction import Predictor, bundled_predictors, load_predictor, predictor_for
from agents.prediction.regression import left_out
from agents.prediction.scoring import score
from edgecloud_gym import RequestDataset, load_dataset
from edgecloud_gym.dataset.writing import write_dataset
from tests.agents.prediction.support import drawn

DATA = drawn(120)
TRAIN = DATA.rows("train")
TEST = DATA.rows("test")


def scaled(data: RequestDataset, rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Inputs on which exp(-|x - x'|^2) is the predictor's kernel."""
    assert data.embeddings is not None
    assert data.prompt_tokens is not None
    unit = data.embeddings.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit = unit.astype(np.float16).astype(float) if rows is TRAIN else unit
    logs = np.log1p(data.prompt_tokens)
    lengths = (logs - logs[TRAIN].mean()) / logs[TRAIN].std()
    return np.column_stack([np.sqrt(0.6) * unit, np.sqrt(0.3) * lengths])[rows]


def test_it_is_a_gaussian_process() -> None:
    process = pytest.importorskip("sklearn.gaussian_process")
    kernel = process.kernels.RBF(np.sqrt(0.5))
    reference = process.GaussianProcessRegressor(kernel, alpha=0.2, optimizer=None)
    logs = np.log(DATA.base_latency[TRAIN])
    reference.fit(scaled(DATA, TRAIN), logs - logs.mean())
    mean, std = reference.predict(scaled(DATA, TEST), return_std=True)
    predictor = Predictor.fit(DATA, ridge=0.2)
    prediction = predictor.predict_dataset(DATA, TEST)
    # Supports are kept in half, their lengths in single precision.
    assert_allclose(prediction.log_time_mean, mean + logs.mean(), atol=1e-5)
    variance = predictor.time.amplitude(prediction.log_time_mean) * (std**2 + 0.2)
    assert_allclose(prediction.log_time_std, np.sqrt(variance), rtol=1e-5)


def test_leaving_out_is_refitting() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(12, 3)), rng.normal(size=12)
    strengths, axes = np.linalg.eigh(features.T @ features)
    errors, _ = left_out(features @ axes, strengths, targets, 0.5)
    centred = targets - targets.mean()
    for i in range(12):
        kept = np.arange(12) != i
        gram = features[kept].T @ features[kept] + 0.5 * np.eye(3)
        weights = np.linalg.solve(gram, features[kept].T @ centred[kept])
        assert errors[i] == pytest.approx(centred[i] - features[i] @ weights)


def test_all_rows_inform_few_supports() -> None:
    few = Predictor.fit(DATA, ridge=0.2, supports=40)
    kernel = few.features.kernel
    assert len(kernel.embeddings) == 40
    assert few.rows == len(TRAIN)
    prediction = few.predict_dataset(DATA, TEST)
    # The subset of regressors: Rasmussen & Williams, Gaussian processes, equations 8.14 and 8.27.
    own = kernel(kernel.embeddings, kernel.lengths)
    seen = few.kernel_values(DATA.embeddings[TRAIN].astype(float), DATA.prompt_tokens[TRAIN])  # type: ignore[index]
    logs = np.log(DATA.base_latency[TRAIN])
    inner = seen.T @ seen + 0.2 * own
    new = few.kernel_values(DATA.embeddings[TEST], DATA.prompt_tokens[TEST])  # type: ignore[index]
    mean = new @ np.linalg.solve(inner, seen.T @ (logs - logs.mean()))
    assert_allclose(prediction.log_time_mean, mean + logs.mean(), atol=2e-3)
    variance = 1.0 - np.einsum("ij,ji->i", new, np.linalg.solve(own, new.T))
    variance += 0.2 * np.einsum("ij,ji->i", new, np.linalg.solve(inner, new.T))
    phi = new @ few.features.projection
    assert_allclose(few.spread(phi), variance, atol=1e-3)


def test_it_recovers_what_times_were_drawn_from() -> None:
    data = drawn(800, seed=1)
    test = data.rows("test")
    predictor = Predictor.fit(data, supports=250)
    prediction = predictor.predict_dataset(data, test)
    scores = score(prediction, data.base_latency[test], data.response_tokens[test])  # type: ignore[index]
    logs = np.log(data.base_latency[test])
    assert scores.r2 == pytest.approx(1.0 - 0.3**2 / logs.var(), abs=0.05)
    assert prediction.log_time_std.mean() == pytest.approx(0.3, rel=0.1)
    assert scores.expected_ratio == pytest.approx(1.0, abs=0.1)
    answers = data.response_tokens[test]  # type: ignore[index]
    assert prediction.output_tokens.mean() == pytest.approx(answers.mean(), rel=0.1)
    assert_allclose(
        scores.coverage, np.arange(0.05, 1.0, 0.05), atol=4.0 * 0.5 / np.sqrt(len(test))
    )


def test_spread_may_grow_with_the_time() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(1500, 2))
    direction = embeddings[:, 0] / np.linalg.norm(embeddings, axis=1)
    logs = 2.0 * direction + np.exp(direction / 2.0 - 1.0) * rng.normal(size=1500)
    data = RequestDataset.from_arrays(base_latency=np.exp(logs), embeddings=embeddings)
    spread = (
        Predictor.fit(data, supports=200)
        .predict([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        .log_time_std
    )
    assert_allclose(spread, np.exp([-1.5, -1.0, -0.5]), rtol=0.15)


def test_file_gives_the_same_predictions(tmp_path: Path) -> None:
    for supports in (1024, 50):
        predictor = Predictor.fit(DATA, supports=supports)
        path = tmp_path / "p.npz"
        predictor.save(path, {"seed": 3})
        loaded = load_predictor(path)
        assert loaded.training == {"seed": 3}
        assert repr(loaded) == f"Predictor({len(TRAIN)} prompts, embeddings of width 5)"
        before, after = (p.predict_dataset(DATA) for p in (predictor, loaded))
        for name in ("log_time_mean", "log_time_std", "output_tokens"):
            assert_array_equal(getattr(before, name), getattr(after, name))


def test_the_bundled_one_is_what_it_says() -> None:
    data = load_dataset("smollm2-135m")
    test = data.rows("test")
    assert "smollm2-135m" in bundled_predictors()
    predictor = load_predictor("smollm2-135m")
    assert load_predictor("smollm2-135m") is predictor
    assert load_predictor(predictor) is predictor
    scores = score(
        predictor.predict_dataset(data, test),
        data.base_latency[test],
        data.response_tokens[test],  # type: ignore[index]
    )
    assert scores.r2 > 0.63
    assert abs(scores.expected_ratio - 1.0) < 0.1
    made = predictor.training
    assert {"command", "seed", "machine", "seconds", "versions"} <= set(made)
    assert made["settings"]["split"] == "train"


def test_a_dataset_that_only_has_a_bundled_name_gets_a_predictor_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "smollm2-135m"
    write_dataset(
        RequestDataset.from_arrays(rng.lognormal(size=40), rng.normal(size=(40, 384))), folder
    )
    predictor = predictor_for(load_dataset(folder))
    assert predictor is not load_predictor("smollm2-135m")
    assert predictor.rows < 40


def test_only_what_was_loaded_from_the_package_is_bundled() -> None:
    data = load_dataset("smollm2-135m")
    bundled = load_predictor("smollm2-135m")
    copy = pickle.loads(pickle.dumps(data))
    assert data.is_bundled
    assert copy.is_bundled
    assert predictor_for(copy) is bundled
    rows = data.rows("test")[:40]
    arrays = {"base_latency": data.base_latency[rows], "embeddings": data.embeddings[rows]}  # type: ignore[index]
    own = RequestDataset.from_arrays(**arrays, name="smollm2-135m")
    assert not own.is_bundled
    assert predictor_for(own) is not bundled
    replayed = ReplayedDataset.of(data, rows.astype(np.int64))
    assert predictor_for(replayed) is bundled
    # Another encoder's embeddings, which are as wide as those that it was fitted to.
    assert data.embeddings is not None
    other = load_dataset(data, embeddings=np.roll(data.embeddings, 1, axis=1))
    assert other.name == data.name
    assert not other.is_bundled
    assert identify(own) != identify(replace(own, name=data.name))


def test_a_path_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = load_predictor("smollm2-135m")
    with pytest.raises(ValueError, match="'smollm2-135m' is not known"):
        load_predictor(Path("smollm2-135m"))
    Predictor.fit(DATA).save(tmp_path / "smollm2-135m")
    for path in (Path("smollm2-135m"), "./smollm2-135m"):
        assert load_predictor(path).width == 5
    with pytest.warns(UserWarning, match=r"is the bundled one; '\./smollm2-135m' would be"):
        assert load_predictor("smollm2-135m") is bundled


def test_what_cannot_be_learnt_from() -> None:
    bare = RequestDataset.from_arrays(np.ones(20))
    with pytest.raises(ValueError, match="has no embeddings"):
        Predictor.fit(bare)
    with pytest.raises(ValueError, match="at least 10 prompts, got 2"):
        Predictor.fit(DATA, rows=[1, 2])
    for name, value in (("ridge", 1e-300), ("embedding_scale", -1.0), ("token_scale", np.nan)):
        with pytest.raises(ValueError, match=name):
            Predictor.fit(DATA, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="supports"):
        Predictor.fit(DATA, supports=2.5)  # type: ignore[arg-type]


def test_what_it_cannot_predict() -> None:
    predictor = Predictor.fit(DATA)
    with pytest.raises(ValueError, match=r"shape \(n, 5\), got \(3, 4\)"):
        predictor.predict(np.ones((3, 4)), np.ones(3))
    with pytest.raises(ValueError, match=r"prompt_tokens: must have the shape \(3,\), got \(2,\)"):
        predictor.predict(np.ones((3, 5)), np.ones(2))
    vectors = np.ones((3, 5))
    vectors[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"embeddings\[1, 4\]=nan: must be finite"):
        predictor.predict(vectors)
    for wrong, shown in (([5, -1, 2], "-1"), ([5, np.inf, 2], "inf"), ([5, np.nan, 2], "nan")):
        with pytest.raises(ValueError, match=rf"prompt_tokens\[1\]={shown}: must be .* at least 0"):
            predictor.predict(np.ones((3, 5)), wrong)
    with pytest.raises(TypeError, match="prompt_tokens: must hold numbers"):
        predictor.predict(np.ones((3, 5)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="no embeddings to predict from"):
        predictor.predict_dataset(RequestDataset.from_arrays(np.ones(20)))
    with pytest.raises(ValueError, match=r"width 5, and .* of width 384"):
        predictor.predict_dataset(load_dataset("smollm2-135m"))


def test_what_is_no_predictor(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'smollm2-135m'"):
        load_predictor("smollm2-135")
    with pytest.raises(FileNotFoundError):
        load_predictor(tmp_path / "nothing.npz")
    write_checkpoint(tmp_path / "a.npz", "c2ucb", {}, {})
    with pytest.raises(ValueError, match="holds 'c2ucb', not a predictor"):
        load_predictor(tmp_path / "a.npz")
    write_checkpoint(tmp_path / "b.npz", "predictor", {}, {})
    with pytest.raises(ValueError, match="damaged predictor"):
        load_predictor(tmp_path / "b.npz")


def test_prompts_without_token_counts_or_answers() -> None:
    data = RequestDataset.from_arrays(
        base_latency=DATA.base_latency,
        embeddings=DATA.embeddings,  # type: ignore[arg-type]
    )
    prediction = Predictor.fit(data).predict_dataset(data)
    assert np.isnan(prediction.output_tokens).all()
    assert np.isfinite(prediction.log_time_mean).all()
    assert prediction.log_time_mean.std() > 0.1


def test_equal_prompts_and_equal_times() -> None:
    same = RequestDataset.from_arrays(np.full(30, 2.0), np.ones((30, 3)))
    prediction = Predictor.fit(same).predict_dataset(same)
    assert_allclose(prediction.median_time, 2.0)
    assert np.isfinite(prediction.log_time_std).all()
