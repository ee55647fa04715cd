"""How often honest networks alarm the checks of gradients and of functions.

    PYTHONPATH=. python benchmarks/gradient_check.py [--small 1000] [--minutes 30]

tries the networks of `honest_networks`, appends one row for each to
`benchmarks/results/gradient_check.csv`, and goes on where it stopped. Tolerances were chosen on the
networks of the first half, ``half`` 0, and the rates of false alarms are those of the other.
"""

import argparse
import csv
import os
import signal
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from honest_networks import make, names
from measuring import Row, conditions, results
from scipy.stats import beta

from modelgif.fields.function_check import FUNCTION_TOLERANCE, function_check
from modelgif.fields.gradient_check import (
    OUTPUT_TOLERANCE,
    PATH_TOLERANCE,
    PRECISION_TOLERANCE,
    SLOPE_TOLERANCE,
    gradient_check,
)

_LONGEST = 100
TOLERANCES = {
    "slope_error": SLOPE_TOLERANCE,
    "path_error": PATH_TOLERANCE,
    "output_error": OUTPUT_TOLERANCE,
    "precision_error": PRECISION_TOLERANCE,
    "repeat_error": FUNCTION_TOLERANCE,
    "batch_error": FUNCTION_TOLERANCE,
}


def measure(name: str) -> Row:
    """Returns the row of one network; a network that cannot be made or described says why."""
    row: dict[str, str | int] = {"network": name, "half": zlib.crc32(name.encode()) % 2}
    row |= dict.fromkeys(["about", "target", "dtype", *TOLERANCES, "reason", "skipped"], "")
    start = time.perf_counter()
    try:
        one = make(name)
        row |= {"about": one.about, "target": one.target}
        answers = function_check(one.model, one.references)
        found = gradient_check(one.model, one.references, target=one.target, baseline=one.baseline)
    except (ValueError, TypeError, RuntimeError, AssertionError, ImportError) as error:
        row["skipped"] = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
    except TimeoutError:
        row["skipped"] = f"more than {_LONGEST} s"
    else:
        errors = {key: getattr(found, key) for key in list(TOLERANCES)[:4]}
        errors |= {"repeat_error": answers.repeat_error, "batch_error": answers.batch_error}
        row |= {key: f"{value:.3g}" for key, value in errors.items()}
        row |= {"dtype": found.dtype, "reason": f"{answers.reason} {found.reason}".strip()}
    row["seconds"] = f"{time.perf_counter() - start:.2f}"
    return row | conditions()


def interval(alarms: int, tried: int) -> tuple[float, float]:
    """Returns the 95 % interval of a rate after Clopper and Pearson."""
    low = 0.0 if not alarms else float(beta.ppf(0.025, alarms, tried - alarms + 1))
    high = 1.0 if alarms == tried else float(beta.ppf(0.975, alarms + 1, tried - alarms))
    return low, high


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the alarms of each check and half, from the errors and today's tolerances."""
    tried = frame[frame["skipped"].isna()]
    found = []
    for half, part in [("tuning", tried[tried["half"] == 0]), ("other", tried[tried["half"] == 1])]:
        for check, keys in (
            ("gradients", list(TOLERANCES)[:3]),
            # No alarm: these fields take float64.
            ("needs float64", ["precision_error"]),
            ("function", list(TOLERANCES)[4:]),
        ):
            missed = [~(np.asarray(part[key]) <= TOLERANCES[key]) for key in keys]
            alarms = int(np.any(missed, axis=0).sum())
            low, high = interval(alarms, len(part))
            found.append({"half": half, "check": check, "networks": len(part), "alarms": alarms})
            found[-1] |= {"low": low, "high": high}
            found[-1] |= {f"largest {key}": part[key].max() for key in keys}
    return pd.DataFrame(found)


def main() -> None:
    """Measures, appends and prints the summary."""
    parser = argparse.ArgumentParser(description="Counts false alarms on honest networks.")
    parser.add_argument("--small", type=int, default=1000, help="small random networks")
    parser.add_argument("--kind", choices=["small", "architectures"], help="by default all")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, default=results("gradient_check"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    known = options.output.exists() and options.output.stat().st_size > 0
    done = set(pd.read_csv(options.output)["network"]) if known else set()
    end = time.monotonic() + 60 * options.minutes
    with options.output.open("a", newline="") as file:
        for name in names(options.small):
            kind = "small" if name.startswith("small:") else "architectures"
            if name in done or options.kind not in (None, kind):
                continue
            if time.monotonic() > end:
                break
            signal.alarm(_LONGEST)
            row = measure(name)
            signal.alarm(0)
            writer = csv.DictWriter(file, list(row))
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
            print(name, row["seconds"], row["reason"] or row["skipped"], flush=True)
    print(summary(pd.read_csv(options.output)).T.to_string())


def _too_long(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
