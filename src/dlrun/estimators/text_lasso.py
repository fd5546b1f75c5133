"""Define the lasso on texts: solve the lasso path, and choose the penalty by validation."""

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.labelled_texts import Reviews
from dlrun.data.split import Split
from dlrun.data.splits import split_off_validation
from dlrun.data.text_encoding import FIRST_WORD, RaggedWordIds
from dlrun.experiments import text_common
from dlrun.experiments.experiment import Implementation
from dlrun.experiments.reviews import TextLassoConfig
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.experiments.text_common import BagPredictor, TextAssets
from dlrun.lasso import one_vs_rest
from dlrun.lasso.logistic_lasso import (
    Labels,
    LassoSolution,
    LinearModel,
    log_spaced_penalties,
    pack_linear_models,
    unpack_linear_models,
)
from dlrun.metrics import format_metric
from dlrun.plots import draw_accuracy_along_lasso_path
from dlrun.runs.checkpoint import fingerprint_data
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.folder import MODEL, WORDS
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import SECONDS
from dlrun.runs.predictions_csv import PredictedClasses
from dlrun.runs.results import DrawnFigures, Results
from dlrun.runs.run import ASSETS, Run
from dlrun.system.console import Screen
from dlrun.system.json_text import to_json
from dlrun.system.text import format_position

if TYPE_CHECKING:
    from dlrun.lasso.newton import BinaryColumns

# train, valid, test: bags of words, binary CSR (n_reviews, width), and class indices (n_reviews,)
Parts = dict[str, tuple[sparse.csr_matrix, Labels]]
# The fit at a penalty: a regression for each class, or of two classes one (lasso/one_vs_rest.py).
Fit = Sequence[LinearModel]


class TextLassoImplementation(Implementation[TextLassoConfig]):
    """Classifies texts by the lasso, whose penalty has the best validation accuracy."""

    def run(self, config: TextLassoConfig, run: LiveRun) -> Results:
        """Solve the lasso path, choose the penalty, and write the words with their weights."""
        accelerator = config.report_cpu(run.screen.warn)
        with run.phase("data"):
            reviews: Reviews = self.load_data(config, run.data_dir, run.screen)
            parts, split = _divide_reviews(config, reviews, run.screen)
            assets = TextAssets.of_reviews(reviews)
            run.keep(ASSETS, to_json(assets.values()).encode())
        with run.phase("fit"):
            fits = self._fit_all(config, run, reviews, parts)
        best = _best_step(run.rows)
        row = run.rows[best]
        best_fit = list(unpack_linear_models(fits[best]))
        every_regression = itertools.chain.from_iterable(map(unpack_linear_models, fits))
        run.keep(MODEL, pack_linear_models(every_regression))
        run.keep(
            WORDS, to_csv([["word", "class", "weight"], *_words_of_classes(best_fit, reviews)])
        )
        predictions = _classify(best_fit, reviews)
        describe = text_common.review_describer(reviews)
        save_test_predictions(run, config.predictions, predictions, describe)
        coefficients = sum(len(regression.coef) for regression in best_fit)
        run.write_summary(
            f"data    {reviews.origin.text}\n"
            f"lambda  {format_metric(row['lambda'])} of {len(fits)}, by the validation accuracy\n"
            f"model   {row['nonzero']:,} of {coefficients:,} coefficients are not zero"
        )
        metrics = {name: row[name] for name in row if name not in (SECONDS, "duality_gap")}
        train_labels = parts["train"][1]
        valid_labels = parts["valid"][1]
        return Results(
            metrics=metrics | predictions.test_metrics,
            accelerator=accelerator,
            origin=reviews.origin,
            split=split,
            test_rows=len(predictions),
            classes=predictions.summarise_classes(train_labels),
            extra={"train_rows": len(train_labels), "valid_rows": len(valid_labels)},
        )

    def _fit_all(
        self, config: TextLassoConfig, run: LiveRun, reviews: Reviews, parts: Parts
    ) -> list[bytes]:
        """Solve the lasso path, each penalty a step; a resumed run begins after its saved fits.

        Returns the packed fits: many regressions of many words would take gigabytes otherwise.
        """
        from dlrun.lasso.newton import csr_to_columns, solve_newton_path  # slow: numba

        X, y = parts["train"]
        labels = one_vs_rest.labels_of_regressions(y, len(reviews.labels))
        penalties = log_spaced_penalties(X, labels, config.path.values, config.path.smallest)
        steps = run.begin_steps(None, _fingerprint(parts, reviews))
        fits = list(steps.saved_parts)
        started = time.perf_counter()
        columns = {name: csr_to_columns(bags) for name, (bags, _) in parts.items()}
        starts: Sequence[LinearModel | None] = [None] * len(labels)
        if fits:
            starts = list(unpack_linear_models(fits[-1]))
        remaining = penalties[len(fits) :]
        paths = [
            solve_newton_path(columns["train"], own, remaining, config.tolerance, start=start)
            for own, start in zip(labels, starts, strict=True)
        ]
        with steps.progress_bar("path", len(penalties), "lambda"):
            for fit in zip(*paths, strict=True):
                seconds = time.perf_counter() - started
                fits.append(pack_linear_models(fit))
                row = _row_of_fit(fit, columns, parts)
                row[SECONDS] = seconds
                row["duality_gap"] = sum(solution.duality_gap for solution in fit)
                line = (
                    f"lambda {format_position(len(fits), len(penalties))}  "
                    f"{format_metric(row['lambda'])}  "
                    f"accuracy valid {row['valid_accuracy']:.4f}  test {row['test_accuracy']:.4f}"
                )
                # The fits are the whole state.
                steps.finish(row, line, state=b"", part=fits[-1])
                started = time.perf_counter()
        return fits

    def test(
        self, run: Run, config: TextLassoConfig, data_dir: Path, screen: Screen
    ) -> PredictedClasses:
        """Classify the test set with the coefficients, in double precision as the run did."""
        reviews: Reviews = self.load_data(config, data_dir, screen)
        parts, _ = _divide_reviews(config, reviews, screen)
        run.check_data(_fingerprint(parts, reviews))
        return _classify(_load_best(run), reviews)

    def predictor(self, run: Run, config: TextLassoConfig) -> BagPredictor:
        """Return a predictor for texts."""
        assets = TextAssets.of_run(run)
        fit = _load_best(run)

        def logits(texts: RaggedWordIds) -> one_vs_rest.Logits:
            return one_vs_rest.compute_logits(fit, texts.bag_of_words(assets.width))

        return BagPredictor(
            assets,
            lambda texts: one_vs_rest.class_probabilities(logits(texts)),
            lambda texts: one_vs_rest.class_logits(logits(texts)),
        )

    def draw(self, run: Run, config: TextLassoConfig) -> DrawnFigures:
        """Draw the accuracy along the lasso path, and the probabilities of two classes."""
        figure = draw_accuracy_along_lasso_path(
            run.table, run.results["train_rows"], _best_step(run.rows), title=self.title(run)
        )
        return {"lasso_path.png": figure} | super().draw(run, config)


def _divide_reviews(
    config: TextLassoConfig, reviews: Reviews, screen: Screen
) -> tuple[Parts, Split]:
    """Divide the training reviews; warn of a class of which no review is left to fit."""
    fitted, held_out = split_off_validation(
        config.data.validation, reviews.train, reviews.test, config.split_seed, screen
    )
    bags = reviews.train.bags
    labels = reviews.train.labels
    parts = {
        "train": (bags[fitted], labels[fitted]),
        "valid": (bags[held_out], labels[held_out]),
        "test": (reviews.test.bags, reviews.test.labels),
    }
    for index, name in enumerate(reviews.labels):
        if index not in labels[fitted]:
            screen.warn(f"no text of the class {name!r} is left to fit: the lasso cannot tell it")
    split = text_common.make_split_of_reviews(config, reviews, fitted, held_out)
    return parts, split


def _classify(fit: Fit, reviews: Reviews) -> PredictedClasses:
    """Predict the classes of the test reviews."""
    logits = one_vs_rest.compute_logits(fit, reviews.test.bags)
    return PredictedClasses.of_probabilities(
        reviews.test.labels.astype(np.int64),
        one_vs_rest.predict_classes(logits),
        one_vs_rest.class_probabilities(logits),
        reviews.labels,
        row_names=reviews.test_names,
    )


def _words_of_classes(fit: Fit, reviews: Reviews) -> list[tuple[str, str, float]]:
    """Return word, class and weight of each coefficient that is not zero, by class and weight.

    A weight above zero speaks for the class. Of two classes, a word has the class for which it
    speaks.
    """
    coefficients = [regression.coef for regression in fit]
    if len(coefficients) == 1:
        (of_second_class,) = coefficients
        coefficients = [np.maximum(-of_second_class, 0), np.maximum(of_second_class, 0)]
    return [
        (reviews.vocabulary[index - FIRST_WORD], name, float(weights[index]))
        for name, weights in zip(reviews.labels, coefficients, strict=True)
        for index in np.argsort(-weights).tolist()
        if weights[index] and index >= FIRST_WORD
    ]


def _fingerprint(parts: Parts, reviews: Reviews) -> str:
    """Return a hash of the bags of words and the labels, the vocabulary and the class names."""
    arrays = (
        array for bags, labels in parts.values() for array in (bags.indices, bags.indptr, labels)
    )
    assets = TextAssets.of_reviews(reviews).values()
    return fingerprint_data(fingerprint_arrays(arrays), reviews.origin.files_digest, assets)


def _row_of_fit(
    fit: Sequence[LassoSolution], columns: Mapping[str, "BinaryColumns"], parts: Parts
) -> dict[str, float]:
    """Return a fit's numbers for metrics.csv; those of several regressions are added up."""
    from dlrun.lasso.newton import compute_logits  # slow: numba

    row = {"lambda": fit[0].penalty}
    betas = [np.append(solution.coef, solution.intercept) for solution in fit]
    for name, (_, labels) in parts.items():
        # `columns` holds X by columns: a fifth of the time that CSR rows take.
        logits = np.stack([compute_logits(columns[name], beta) for beta in betas], axis=1)
        predicted = one_vs_rest.predict_classes(logits)
        row[f"{name}_accuracy"] = float(np.mean(predicted == labels))
    row["nonzero"] = sum(int(np.count_nonzero(solution.coef)) for solution in fit)
    row["objective"] = sum(solution.objective for solution in fit)
    return row


def _best_step(rows: Sequence[Mapping[str, float]]) -> int:
    """Return the index of the first penalty with the best validation accuracy."""
    return max(range(len(rows)), key=lambda index: rows[index]["valid_accuracy"])


def _load_best(run: Run) -> Fit:
    """Return the fit that a run chose."""
    regressions = unpack_linear_models(run.read(MODEL))
    per_fit = one_vs_rest.count_regressions(len(run.labels))
    begin = per_fit * _best_step(run.rows)
    return list(itertools.islice(regressions, begin, begin + per_fit))
