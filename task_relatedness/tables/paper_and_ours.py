"""What papers print, what their matrices give by our code, and what rooms give."""

import pandas as pd

from task_relatedness.comparing.distance_files import MAIN, method_names
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.method_name import MethodName
from task_relatedness.statistics.measure import PUBLISHED, ROOMS
from task_relatedness.tables.published_matrices import paper_figures, published_records
from task_relatedness.tables.record_views import by_method

# Our names of what papers print; the target and the baseline of maps are not theirs.
_SAME = {
    "RSA": "rsa",
    "DDS, cosine, z-normalised": "dds_cosine",
    "DDS, pearson, z-normalised": "dds_pearson",
    "DDS, laplacian, z-normalised": "dds_laplacian",
    "DDS, linear, z-normalised": "cka_standardised",
    "DDS, linear (CKA), centred": "cka",
}
_READING = "columns_with_diagonal"


def main_method(config: TaskRelatednessConfig) -> str:
    """Returns the name of the method that others are compared with.

    It is ModelGiF with the first references, target and baseline of the configuration.
    """
    return str(next(method_names(config.measure)))


def like_main(config: TaskRelatednessConfig, records: pd.DataFrame) -> pd.DataFrame:
    """Returns the records of what was applied to the same as the main method.

    These are the methods at its references and, where they have one, with its target and baseline;
    and whatever has no references, as the groups alone.
    """
    main = next(method_names(config.measure))
    others = {
        str(name)
        for name in method_names(config.measure)
        if name.references != main.references
        or name.target not in (None, main.target)
        or name.baseline not in (None, main.baseline)
    }
    return records.loc[~records["method"].isin(list(others))]


def variants_of_main(config: TaskRelatednessConfig, records: pd.DataFrame) -> pd.DataFrame:
    """Returns the records of the main method at all references, targets and baselines."""
    names = [str(name) for name in method_names(config.measure) if name.method == MAIN]
    return records.loc[records["method"].isin(names)]


def paper_table(config: TaskRelatednessConfig, records: pd.DataFrame) -> pd.DataFrame:
    """Returns agreement in the paper's reading, columns with the diagonal: theirs and ours.

    Printed correlations of distances have the other sign there, see
    `task_relatedness.tables.published_matrices.paper_figures`.

    Args:
        config: of the run.
        records: ``records.csv``.
    """
    references = config.measure.references[0]
    ours = {"ModelGiF": main_method(config)}
    ours |= {name: str(MethodName(method, references)) for name, method in _SAME.items()}
    figures = paper_figures()
    figures = figures[figures["affinities"] == "all_affinities"]
    printed = dict(zip(figures["method"], figures["agreement"], strict=True))
    columns = {
        "printed": {ours[name]: value for name, value in printed.items() if name in ours},
        "their matrix, our code": {
            ours[name]: value
            for name, value in by_method(
                published_records(n_bootstrap=2), PUBLISHED, _READING
            ).items()
            if name in ours
        },
        **{
            f"here, by {truth}": by_method(records, truth, _READING) for truth in (ROOMS, PUBLISHED)
        },
    }
    rows = [
        {"method": name} | {title: of.get(method) for title, of in columns.items()}
        for name, method in ours.items()
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(columns, float)).dropna(axis=1, how="all")
