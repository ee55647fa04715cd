"""The testbed's statistics: how well scores order models, how surely, and what descent adds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from model_selection.scoring_config import EvaluationConfig
from model_selection.taus import (
    mean_of_tasks,
    of_known,
    resampled_taus,
    shuffled_taus,
    taus,
)
from modelgif.experiment.percentile_interval import percentile_interval
from modelgif.experiment.record import Measurement
from modelgif.ranking import pearson, top_1_regret, top_k_recall

STATIC, CHANCE = "static_ranking", "chance"
# The subject of what is said over all tasks.
MEAN = "mean"
PED = "+ped"
TAU = "weighted_tau"


class SignTest(NamedTuple):
    """How often one of two is better.

    Attributes:
        n_better: tasks where the first is better.
        n: tasks where the two differ.
        p_value: two-sided, that both are better equally often.
    """

    n_better: int
    n: int
    p_value: float


def sign_test(differences: Sequence[float] | np.ndarray) -> SignTest:
    """Returns the sign test of paired differences; zeros and NaN say nothing and are left out."""
    signs = np.sign(np.asarray(differences, dtype=float))
    better, worse = int((signs > 0).sum()), int((signs < 0).sum())
    n = better + worse
    return SignTest(better, n, float(scipy.stats.binomtest(better, n).pvalue) if n else 1.0)


def score_measurements(
    scores: Mapping[str, pd.DataFrame],
    accuracy: pd.DataFrame,
    config: EvaluationConfig,
    *,
    seed: int,
) -> dict[str, list[Measurement]]:
    """Returns how well each score orders the models, by score; `STATIC` and `CHANCE` come last.

    Of each task, with n the models that have the score:

    - ``weighted_tau``, ``pearson`` against the accuracies; missing where there is no order
    - ``top_1_regret``, ``top_k_recall``; a model without the score comes last

    Of the tasks' ``mean``, with n the tasks it is taken over, the same, and

    - ``weighted_tau_p``: how often interchanged models reach it, see `shuffled_taus`
    - ``over_static``: its mean τ less the static ranking's
    - ``gain``, of a score after descent: less that of the score before; also of each task
    - ``tasks_better``, n the tasks that differ, and ``sign_test_p`` of the gains

    ``_low`` and ``_high`` are the interval of a τ, a mean, or a difference, from one set of draws
    of models with replacement. `CHANCE` has ``null_spread``, the standard deviation of τ of random
    orders.

    Args:
        scores: by name, one row per model and one column per task as `accuracy`, NaN where
            missing; the static ranking among them.
        accuracy: after fine-tuning.
        config: numbers of draws, level, k.
        seed: of the draws.
    """
    truth, tasks = accuracy.to_numpy(dtype=float), [str(task) for task in accuracy.columns]
    tables = {
        name: table.loc[accuracy.index, accuracy.columns].to_numpy(dtype=float)
        for name, table in scores.items()
    }
    rng = np.random.default_rng(seed)
    n_models = len(accuracy)
    draws = rng.integers(n_models, size=(config.n_bootstrap, n_models))
    orders = np.array([rng.permutation(n_models) for _ in range(config.n_permutations)])
    drawn = {name: resampled_taus(table, truth, draws) for name, table in tables.items()}
    measured = {name: taus(table, truth) for name, table in tables.items()}
    found: dict[str, list[Measurement]] = {}
    for name, table in tables.items():
        counts = np.isfinite(table).sum(0).tolist()
        own = _with_interval(TAU, measured[name], drawn[name], tasks, counts, config.level)
        own += _choices(table, truth, tasks, counts, config.top_k)
        if np.isfinite(measured[name]).any():
            own.append(_p_value(measured[name], shuffled_taus(table, truth, orders)))
        for quantity, baseline in (("over_static", STATIC), ("gain", name.removesuffix(PED))):
            if baseline != name and baseline in tables:
                apart = measured[name] - measured[baseline]
                spread = drawn[name] - drawn[baseline]
                own += _with_interval(quantity, apart, spread, tasks, counts, config.level)
        if name.endswith(PED):
            test = sign_test(measured[name] - measured[name.removesuffix(PED)])
            own.append(Measurement(MEAN, "tasks_better", test.n_better, test.n))
            own.append(Measurement(MEAN, "sign_test_p", test.p_value, test.n))
        found[name] = own
    static = np.arange(n_models, dtype=float)[:, None].repeat(len(tasks), 1)
    null = shuffled_taus(static, truth, orders)
    spreads = dict(zip([*tasks, MEAN], [*null.std(0), null.mean(1).std()], strict=True))
    found[CHANCE] = [
        Measurement(subject, "null_spread", float(spread), n_models)
        for subject, spread in spreads.items()
        if math.isfinite(spread)
    ]
    return found


def _p_value(measured: np.ndarray, null: np.ndarray) -> Measurement:
    """How often the mean τ of interchanged models ``[P, T]`` is as high, the measured counted."""
    means = mean_of_tasks(null, measured)
    # An order that comes out again must not be missed by rounding.
    reached = int((means >= np.nanmean(measured) - 1e-12).sum())
    return Measurement(MEAN, f"{TAU}_p", (1 + reached) / (1 + len(means)), len(means))


def _with_interval(
    quantity: str,
    values: np.ndarray,
    draws: np.ndarray,
    tasks: Sequence[str],
    counts: Sequence[int],
    level: float,
) -> list[Measurement]:
    """Values ``[T]`` that exist, their mean, and the intervals from draws ``[B, T]``."""
    exist = np.isfinite(values)
    known = [i for i in range(len(tasks)) if exist[i]]
    rows = [(tasks[i], values[i], draws[:, i], counts[i]) for i in known]
    if exist.any():
        rows.append((MEAN, values[exist].mean(), mean_of_tasks(draws, values), int(exist.sum())))
    found, tails = [], ((1 - level) / 2, (1 + level) / 2)
    for subject, value, resampled, n in rows:
        found.append(Measurement(subject, quantity, float(value), n))
        # None where most draws of models leave no order.
        ends = percentile_interval(resampled, tails=tails, min_known=len(resampled) // 2 + 1)
        if ends is not None:
            found.append(Measurement(subject, f"{quantity}_low", ends[0], n))
            found.append(Measurement(subject, f"{quantity}_high", ends[1], n))
    return found


def _choices(
    scores: np.ndarray, truth: np.ndarray, tasks: Sequence[str], counts: Sequence[int], top_k: int
) -> list[Measurement]:
    """What choosing by the scores gives; a model without a score comes last."""
    columns = {
        "pearson": lambda s, t: of_known(pearson, s, t),
        "top_1_regret": lambda s, t: top_1_regret(_filled(s), t),
        f"top_{top_k}_recall": lambda s, t: top_k_recall(_filled(s), t, top_k),
    }
    found = []
    for quantity, statistic in columns.items():
        values = np.array(
            [
                statistic(scores[:, i], truth[:, i]) if counts[i] else math.nan
                for i in range(len(tasks))
            ]
        )
        exist = np.isfinite(values)
        found += [
            Measurement(task, quantity, float(values[i]), counts[i])
            for i, task in enumerate(tasks)
            if exist[i]
        ]
        if exist.any():
            found.append(Measurement(MEAN, quantity, float(values[exist].mean()), int(exist.sum())))
    return found


def _filled(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), scores, np.nanmin(scores) - 1)
