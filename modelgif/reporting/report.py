"""Reports: one self-contained HTML page per run, with its pictures inside."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from modelgif.reporting.figure import render_figure
from modelgif.reporting.table import cell_text
from modelgif.storage.atomic import write_text


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report: a title over any of a paragraph, a table and a picture.

    Attributes:
        title: its heading.
        text: a paragraph, or empty.
        table: shown without its index; None for none.
        figure: shown below the table; None for none.
        caption: of the figure, and what is read to a reader who cannot see it.
        digits: decimals of the table's floats.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    caption: str = ""
    digits: int = 3


@dataclass(frozen=True, eq=False)
class Report:
    """What a report says, from the question to the command that repeats it.

    Attributes:
        question: the page's title.
        answer: one sentence.
        sections: the evidence, in order.
        conditions: under which the numbers were measured, by name.
        repeat: the command.
        notes: warnings a reader must see beside the answer.
    """

    question: str
    answer: str
    sections: Sequence[Section]
    conditions: Mapping[str, object]
    repeat: str
    notes: Sequence[str] = ()


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Writes `report` as one HTML file that needs no other file and no network.

    All text is escaped: a model's name cannot become a script, and the page's own policy forbids
    any. The same report gives the same bytes.
    """
    environment = Environment(
        loader=PackageLoader("modelgif.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        report=report,
        conditions=pd.DataFrame(
            {"condition": name, "value": str(value)} for name, value in report.conditions.items()
        ),
        cell_text=cell_text,
        is_number=is_numeric_dtype,
        picture=_picture,
    )
    write_text(path, page + "\n")


def _picture(figure: Figure) -> str:
    content = io.BytesIO()
    render_figure(figure, content)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
