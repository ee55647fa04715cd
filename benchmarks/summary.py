"""Puts what the benchmarks measured into one short table of the documentation.

    PYTHONPATH=. python benchmarks/summary.py

reads `benchmarks/results/*.csv` and fills the section `benchmarks` of docs/costs.md; a
benchmark without results has no row.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from modelgif.reporting.table import replace_section, to_markdown

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "costs.md"


def field(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Speed against what nothing can beat, and against others, on each device."""
    for device in ("cpu", "cuda"):
        speed = f"points_a_second_{device}"
        ours = frame[frame["way"] == "ours"].set_index("network")
        ours = ours[ours[speed].notna()]
        if ours.empty:
            yield f"the same on a {ours_of(device)}", ""
            continue
        floor = ours[f"of_floor_{device}"]
        times = {
            name: [
                row[speed] / frame[(frame["network"] == network) & is_it][speed].max()
                for network, row in ours.iterrows()
            ]
            for name, is_it in (
                ("captum", frame["way"].str.startswith("captum")),
                ("a plain loop", frame["way"] == "plain loop"),
            )
        }
        yield (
            f"fields of {len(ours)} networks, {ours_of(device)}",
            f"{floor.min():.2f} to {floor.max():.2f} of bare forward and backward passes; "
            + ", ".join(
                f"{min(each):.1f} to {max(each):.1f} times {name}" for name, each in times.items()
            ),
        )


def ours_of(device: str) -> str:
    """What the device is called."""
    return {"cpu": "CPU", "cuda": "GPU"}[device]


def pairs(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """All pairs against a loop."""
    most = frame[frame["models"] == frame["models"].max()]
    for place in ("stores", "memory"):
        rows = most[most["fields_in"] == place].set_index("way")  # pyright: ignore[reportAttributeAccessIssue]
        times = rows["times_faster"].map("{:.0f}".format)
        said = (
            f"{rows['seconds']['ours']:.2f} s, {times['ours']} times faster than a loop of "
            f"`torch.cosine_similarity`; with float32 products {times['ours, float32 products']}"
        )
        if "bare product" in rows.index:
            said += (
                f" (bare products of matrices: {times['bare product']} and "
                f"{times['bare product, float32']})"
            )
        name = f"distances of all pairs of {most['models'].iloc[0]} models, fields in {place}"  # pyright: ignore[reportAttributeAccessIssue]
        yield name, said


def sketch(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The sketch of default size."""
    row = frame[(frame["precision"] == "sign") & (frame["bytes"] <= 20480)].iloc[-1]
    held = next(name for name in frame.columns if name.startswith("held_by"))
    interval = held.removeprefix("held_by_").removesuffix("_interval")
    yield (
        f"sketches of {row['bytes'] / 1024:.0f} KiB",
        f"distances to {row['mean_square_error']:.4f} (root mean square); the stated "
        f"{interval} interval holds {100 * row[held]:.1f} % of the time",
    )


def index(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Search, exact and approximate."""
    recall = next(name for name in frame.columns if name.startswith("recall"))
    for (count, size), rows in frame.groupby(["count", "bytes_a_sketch"]):  # pyright: ignore[reportGeneralTypeIssues]
        yield (
            f"the nearest of {count:,} sketches of {size:,} bytes",
            "; ".join(
                f"{row['search']}: {row['milliseconds_a_query']:.1f} ms, recall {row[recall]:.3f}"
                for _, row in rows.iterrows()
            ),
        )


def storage(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Bytes and what they cost in distance."""
    for _, row in frame.iterrows():
        yield (
            f"field stores, {row['storage']}",
            f"{row['bytes_a_number']:.2f} bytes per number, read at {row['read_mb_a_second']:.0f} "
            f"MB/s, distances to {row['largest_distance_error']:.0e}",
        )


def scale(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Workers."""
    for _, row in frame[frame["workers"] > 1].iterrows():
        same = "the same files" if row["same_files"] else "OTHER FILES"  # pyright: ignore[reportGeneralTypeIssues]
        yield (
            f"extraction by {row['workers']} workers of one thread",
            f"{row['times_faster']:.2f} times faster than by one, {same}",
        )


def conditions(frame: pd.DataFrame) -> str:
    """On what, at which commits and when a table was measured, and how busy the machine was."""
    load = frame["load"].str.split(" of ", expand=True)
    parts = [
        *frame["cpu"].unique(),
        f"{'/'.join(map(str, frame['threads'].unique()))} threads",
        f"load up to {load[0].astype(float).max()} of {load[1].iloc[0]} cores",
        *(f"`{commit}`" for commit in frame["commit"].unique()),
        *frame["date"].unique(),
    ]
    return ", ".join(parts)


def main() -> None:
    """Fills the section."""
    parser = argparse.ArgumentParser(description="Fills the table of docs/costs.md.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    rows: list[tuple[str, str]] = []
    said: list[str] = []
    for tell in (field, pairs, sketch, index, storage, scale):
        path = options.results / f"{tell.__name__}.csv"
        if path.exists():
            frame = pd.read_csv(path)
            rows += tell(frame)
            said.append(f"{tell.__name__} ({conditions(frame)})")
    table = to_markdown(pd.DataFrame(rows, columns=["what", "measured"]))
    replace_section(options.page, "benchmarks", f"{table}\n*Conditions: {'; '.join(said)}.*")


if __name__ == "__main__":
    main()
