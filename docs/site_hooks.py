"""What turns the repository's pages into a website: pages beside `docs/`, links, the reference.

The pages are written for the code host, where every link is a path in the repository. On the site,
links between pages stay links, and a link to any other file leads to the code host, or is plain
text while `repo_url` is not set in ``mkdocs.yml``.
"""

import importlib
import inspect
import posixpath
import re
import types
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
TESTBEDS = (
    "intellectual_property_protection",
    "model_selection",
    "model_unlearning",
    "task_relatedness",
)
# Pages outside docs/, by their place on the site.
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    **{f"testbeds/{testbed}.md": f"{testbed}/README.md" for testbed in TESTBEDS},
}
REFERENCE = ("modelgif", "lineage", "methods", "ranking", "transferability", "verdict")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
# A fenced block with the name of the file that it is.
_TITLE = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/, the pictures and the reference."""
    for place, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for picture in sorted((ROOT / "assets").glob("*.png")):
        place = f"assets/{picture.name}"
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    for name in REFERENCE:
        files.append(File.generated(config, f"reference/{name}.md", content=reference(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites a page's links and the titles of its code."""
    place = page.file.src_uri
    source = PAGES.get(place, f"docs/{place}")
    places = {f"docs/{uri}": uri for uri in files.src_uris}
    places |= {path: uri for uri, path in PAGES.items()}
    places |= {uri: uri for uri in files.src_uris if uri.startswith("assets/")}

    def rewritten(link: re.Match[str]) -> str:
        picture, text, path, anchor = link.groups(default="")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target in places:
            relative = posixpath.relpath(places[target], posixpath.dirname(place) or ".")
            return f"{picture}[{text}]({relative}{anchor})"
        if picture or not (ROOT / target).exists():
            return link[0]  # which the strict build refuses
        if config.repo_url is None:
            return text
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"[{text}]({config.repo_url.rstrip('/')}/{kind}/main/{target}{anchor})"

    return _TITLE.sub(r'```\1 title="\2"', _LINK.sub(rewritten, markdown))


def reference(name: str) -> str:
    """Returns the page that shows the public names of a package, in the order of its list."""
    full = "modelgif" if name == "modelgif" else f"modelgif.{name}"
    package = importlib.import_module(full)
    lines = [f"# `{full}`", "", inspect.cleandoc(package.__doc__ or ""), ""]
    for public in _public(package):
        value = getattr(package, public)
        if inspect.isfunction(value) or inspect.isclass(value):
            lines += [f"::: {value.__module__}.{value.__qualname__}", ""]
    for module in vars(package).values():
        # Rival methods are called by their modules.
        if isinstance(module, types.ModuleType) and hasattr(module, "METHODS"):
            lines += [f"## `{module.__name__}`", "", f"::: {module.__name__}", *_hidden_root()]
    return "\n".join(lines) + "\n"


def _public(package: types.ModuleType) -> list[str]:
    if hasattr(package, "__all__"):
        return list(package.__all__)
    return [
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == package.__name__
    ]


def _hidden_root() -> list[str]:
    return ["    options:", "      show_root_heading: false", ""]
