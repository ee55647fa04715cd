"""What the sheets of scores hold beside one score per model: halves of samples, settings, costs."""

import numpy as np
import pandas as pd

from model_selection.measure import MEAN, TAU
from model_selection.taus import taus
from modelgif.experiment.record import Measurement


def by_score(sheet: pd.DataFrame, accuracy: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns the scores of `sheet` by name, each with the rows and columns of `accuracy`."""
    return {
        str(name): rows.pivot(index="model", columns="task", values="value").loc[
            accuracy.index, accuracy.columns
        ]
        for name, rows in sheet.groupby("score", sort=False)
    }


def half_measurements(halves: pd.DataFrame, accuracy: pd.DataFrame) -> dict[str, list[Measurement]]:
    """Returns ``weighted_tau_halves`` of each score: τ by the scores of random halves of samples.

    The value is the mean over halves, n their number, and the spread 1.96 standard deviations.
    Drawing half of the samples *without* replacement moves a statistic about as much as drawing all
    of them anew would (the variance of a share m of n is estimated by that of the subsamples times
    m / (n − m), which is 1 here), and gives no sample a twin, which a bootstrap would and which
    nearest neighbours and ranks would notice.
    Source: Shao and Wu, A general theory for jackknife variance estimation, Annals of Statistics
    17, 1989.

    Args:
        halves: ``halves.csv``.
        accuracy: after fine-tuning, one row per model and one column per task.
    """
    truth = accuracy.to_numpy(dtype=float)
    each: dict[str, list[np.ndarray]] = {}
    for half in sorted(set(halves["half"])):
        rows = pd.DataFrame(halves[halves["half"] == half])
        for name, scores in by_score(rows, accuracy).items():
            each.setdefault(name, []).append(taus(scores.to_numpy(dtype=float), truth))
    found = {}
    for name, values in each.items():
        table = np.array(values)
        columns = dict(
            zip([*map(str, accuracy.columns), MEAN], [*table.T, table.mean(1)], strict=True)
        )
        found[name] = [
            Measurement(
                subject,
                f"{TAU}_halves",
                float(own.mean()),
                len(own),
                1.96 * float(own.std(ddof=1)) if len(own) > 1 else None,
            )
            for subject, own in columns.items()
            if np.isfinite(own).all()
        ]
    return found


def grid_measurements(grid: pd.DataFrame, accuracy: pd.DataFrame) -> dict[str, list[Measurement]]:
    """Returns the mean τ of a score at every setting of the descent.

    Args:
        grid: ``grid.csv``.
        accuracy: after fine-tuning, one row per model and one column per task.
    """
    found: dict[str, list[Measurement]] = {}
    for n_sigma, dt in dict.fromkeys(zip(grid["n_sigma"], grid["dt"], strict=True)):
        rows = grid[(grid["n_sigma"] == n_sigma) & (grid["dt"] == dt)]
        for name, scores in by_score(pd.DataFrame(rows), accuracy).items():
            own = taus(scores.to_numpy(dtype=float), accuracy.to_numpy(dtype=float))
            if np.isfinite(own).all():
                quantity = f"{TAU}.n_sigma={n_sigma:g}.dt={dt:g}"
                measured = Measurement(MEAN, quantity, float(own.mean()), len(own))
                found.setdefault(name, []).append(measured)
    return found


def cost_measurements(sheet: pd.DataFrame) -> dict[str, list[Measurement]]:
    """Returns the mean seconds of each score and how many of its values are missing.

    Args:
        sheet: ``scores.csv``.
    """
    found = {}
    for name in dict.fromkeys(sheet["score"]):
        rows = sheet[sheet["score"] == name]
        seconds, missing = np.array(rows["seconds"]), np.isnan(np.array(rows["value"], dtype=float))
        found[name] = [
            Measurement(MEAN, "seconds", float(seconds.mean()), len(rows)),
            Measurement(MEAN, "n_missing", int(missing.sum()), len(rows)),
        ]
    return found
