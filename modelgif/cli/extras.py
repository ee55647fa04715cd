"""Libraries that only some verbs need, and the extra of the package that installs each."""

import importlib.util

# Top modules as they are imported; the extras are those of pyproject.toml.
EXTRAS = {
    "PIL": "images",
    "sklearn": "images",
    "torchvision": "images",
    "jinja2": "report",
    "matplotlib": "report",
    "pandas": "report",
    "xlsxwriter": "report",
    "pydantic": "experiments",
    "skimage": "experiments",
    "yaml": "experiments",
    "faiss": "index",
    "timm": "timm",
    "transformers": "hf",
}


def require(extra: str) -> None:
    """Checks that the libraries of an extra are installed, before any long computation.

    Raises:
        ModuleNotFoundError: for the first that is missing.
    """
    for library, its_extra in EXTRAS.items():
        if its_extra == extra and importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)


def explain(error: ModuleNotFoundError) -> str:
    """Returns what to install for `error`, or its own message when no extra has the library."""
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return str(error)
    return (
        f"this needs {library}, which is not installed: pip install 'modelgif[{EXTRAS[library]}]'."
    )
