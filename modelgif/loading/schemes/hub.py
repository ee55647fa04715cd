"""``hub:OWNER/REPOSITORY:ENTRY``: networks of repositories with a ``hubconf.py``."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from modelgif.loading.address import Address
from modelgif.loading.preprocessing import taken_apart
from modelgif.loading.scheme import Built, Scheme
from modelgif.loading.trust import require_trust

_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<ref>[\w./-]+))?:(?P<entry>\w+)")
# torch.hub would take these for itself.
_REFUSED = {"source", "trust_repo", "force_reload", "verbose", "skip_validation"}
_DEFAULT_REFS = ("main", "master")


def build_hub(address: Address, *, download: bool, trust: Collection[str]) -> Built:
    """Returns what an entry of a repository returns, and its preprocessing if it has one.

    The name is ``owner/repository:entry`` or ``owner/repository:ref:entry``, the query holds the
    entry's arguments. The repository is looked for in torch's hub folder.

    Args:
        address: its name ``owner/repository:entry``, its query the entry's arguments.
        download: whether the repository may be fetched from GitHub when it is not there, and
            whether its code may fetch weights through torch.hub.
        trust: must hold ``hub:owner/repository``, or the same with ``:ref``, because the
            repository's code is run.

    Raises:
        modelgif.loading.errors.UntrustedError: when it does not.
        ValueError: for a malformed address, an unknown entry or wrong arguments.
        FileNotFoundError: when repository or weights are not there.
        TypeError: when the entry returns anything but a module.
    """
    match = _NAME.fullmatch(address.name)
    if match is None:
        raise ValueError(
            f"expected hub:owner/repository:entry?key=value or hub:owner/repository:ref:entry, "
            f"got {address.text!r}."
        )
    if refused := sorted(_REFUSED & set(address.query)):
        raise ValueError(f"{address.text} must not say {', '.join(refused)}.")
    repository, ref, entry = match["repository"], match["ref"], match["entry"]
    names = [f"hub:{repository}", *([f"hub:{repository}:{ref}"] if ref else [])]
    require_trust(address, names, "torch.hub runs the repository's own Python code.", trust)
    folder = _cached(repository, ref)
    if folder is None and not download:
        raise FileNotFoundError(
            f"{repository}{f' at {ref}' if ref else ''} is not in {torch.hub.get_dir()}: call "
            "load_model(…, download=True) once where there is a network."
        )
    where = repository if ref is None else f"{repository}:{ref}"
    arguments: dict[str, Any] = address.arguments() | {
        "source": "local" if folder else "github",
        "trust_repo": True,
        "verbose": False,
    }
    try:
        with nullcontext() if download else _offline(address):
            network = torch.hub.load(str(folder or where), entry, **arguments)
    except FileNotFoundError:
        raise
    except Exception as error:
        # The repository is other people's code and fails in its own way.
        raise ValueError(
            f"{address.text} cannot be built: {type(error).__name__}: {error}"
        ) from error
    return taken_apart(network, address.text)


def _cached(repository: str, ref: str | None) -> Path | None:
    stem = repository.replace("/", "_")
    refs = _DEFAULT_REFS if ref is None else (ref.replace("/", "_"),)
    folders = [Path(torch.hub.get_dir(), f"{stem}_{name}") for name in refs]
    found = [folder for folder in folders if (folder / "hubconf.py").is_file()]
    if len(found) > 1:
        raise ValueError(
            f"{repository} is in {torch.hub.get_dir()} as {' and as '.join(_DEFAULT_REFS)}: say "
            f"which, as in hub:{repository}:main:ENTRY."
        )
    return found[0] if found else None


@contextmanager
def _offline(address: Address) -> Iterator[None]:
    """Refuses what the repository's code would fetch through torch.hub."""

    def refuse(url: str, *_: object, **__: object) -> None:
        raise FileNotFoundError(
            f"{address.text} asks for {url}, which is not in {torch.hub.get_dir()}: call "
            "load_model(…, download=True), or put it there."
        )

    fetch = torch.hub.download_url_to_file
    torch.hub.download_url_to_file = refuse
    try:
        yield
    finally:
        torch.hub.download_url_to_file = fetch


SCHEME = Scheme(
    name="hub",
    example="hub:pytorch/vision:resnet18",
    summary="what an entry of a torch.hub repository returns; runs the repository's code",
    build=build_hub,
    needs_trust="always",
)
