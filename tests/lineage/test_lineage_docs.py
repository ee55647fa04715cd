"""The page on lineage: its example runs, and prints what the page shows."""

import re

from docs.blocks import ROOT, blocks, run_blocks

PAGE = ROOT / "docs" / "lineage.md"


def test_the_example_prints_what_the_page_shows(tmp_path):
    found = [block for block in blocks(PAGE) if block.title or block.language == "bash"]
    # Beside the example, as in the repository's root.
    (tmp_path / "modelgif").symlink_to(ROOT / "modelgif")
    (printed,) = filter(None, (text.strip() for text in run_blocks(found, tmp_path)))
    shown = PAGE.read_text(encoding="utf-8").split("<!-- begin output seed42 -->")[1]
    shown = shown.split("<!-- end output seed42 -->")[0].replace("```text", "").replace("```", "")
    assert words(shown) == words(printed)
    logs = [float(p) for p in re.findall(r"log10 p = (-?[\d.]+)", printed)]
    # Same seed, other seed, the seed found, stolen, permuted.
    assert [p < -20 for p in logs] == [True, False, True, True, False]


def words(text: str) -> list[str]:
    return [re.sub(r"[-\d.,e%]+", "", line).strip() for line in text.strip().splitlines()]
