import re

import pytest

from modelgif.verdict import ModelKind, matched

PLAIN, ROBUST = ModelKind("resnet", "plain"), ModelKind("resnet", "adversarial")
OTHER, OTHER_ROBUST = ModelKind("vgg", "plain"), ModelKind("vgg", "adversarial")


@pytest.mark.parametrize(
    ("independents", "rows", "by", "warning"),
    [
        ([OTHER, PLAIN, ROBUST, PLAIN], (1, 3), "architecture and training", ""),
        ([OTHER, PLAIN, ROBUST, OTHER], (1, 2), "architecture", "Only 1 of 2 .* like the suspect"),
        ([ROBUST, ROBUST, OTHER], (0, 1), "architecture", r"Only 0 of 2 .*\(plain\)"),
        ([OTHER, PLAIN, OTHER_ROBUST], (0, 1, 2), "pooled", "Only 1 of 3 .* architecture resnet"),
        ([OTHER, OTHER], (0, 1), "pooled", "Only 0 of 2 .* innocent suspect look derived"),
        # Where there is nobody else, fewer than the minimum are as well matched.
        ([PLAIN], (0,), "architecture and training", ""),
        ([ROBUST], (0,), "architecture", "Only 0 of 1 .* trained like the suspect"),
    ],
)
def test_the_nearest_kind_with_enough_models(independents, rows, by, warning: str) -> None:
    found = matched(PLAIN, independents, min_independents=2)
    assert (found.rows, found.by) == (rows, by)
    assert re.search(warning, found.warning)
    assert bool(found.warning) == bool(warning)


def test_the_minimum_decides() -> None:
    independents = [PLAIN] * 3 + [ROBUST] * 3 + [OTHER] * 3
    by = {n: matched(PLAIN, independents, min_independents=n) for n in (1, 3, 4, 6, 7, 100)}
    assert [len(found.rows) for found in by.values()] == [3, 3, 6, 6, 9, 9]


def test_refused_matches() -> None:
    with pytest.raises(ValueError, match="at least one independent model .*, got 0 and 5"):
        matched(PLAIN, [])
    with pytest.raises(ValueError, match="got 1 and 0"):
        matched(PLAIN, [PLAIN], min_independents=0)
