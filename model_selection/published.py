"""Models that others have pretrained, read from local files."""

from pathlib import Path
from urllib.parse import quote

from torch import nn

from model_selection.config import ModelSelectionConfig, PublishedConfig
from model_selection.zoo import PretrainedModel
from modelgif.loading.load import load_model

_ENDINGS = (".safetensors", ".pth")


def read_published(
    member: PretrainedModel, group: PublishedConfig, device: str = "cpu"
) -> tuple[nn.Module, dict[str, object]]:
    """Returns the model of `member` behind its preprocessing, and its card.

    Raises:
        FileNotFoundError: when its file is missing.
        modelgif.loading.errors.CheckpointError: for a file that is refused, or of another
            network.
    """
    path = published_file(member.name, group)
    if path is None:
        check_published((group,))
    query = {"architecture": quote(group.architecture, safe=":/=.,")}
    for key in ("mean", "std"):
        if numbers := getattr(group, key):
            query[key] = ",".join(map(str, numbers))
    if group.size is not None:
        query["size"] = str(group.size)
    address = f"file:{path}?" + "&".join(f"{key}={value}" for key, value in query.items())
    return load_model(address, device=device), {
        "architecture": group.architecture,
        "network": group.architecture,
        "pretraining": {"pretraining": member.pretraining},
        "n_classes": group.n_classes,
        "published_as": str(path),
        "origin": group.origin,
    }


def published_file(name: str, group: PublishedConfig) -> Path | None:
    """Returns where a model's file is, or None when it is not there."""
    root = Path(group.root).expanduser()
    candidates = [root / f"{name}{ending}" for ending in _ENDINGS]
    return next(filter(Path.is_file, candidates), None)


def check_published(groups: tuple[PublishedConfig, ...]) -> None:
    """Looks for all files of published models.

    Raises:
        FileNotFoundError: when some are missing; one message says which, and where to get them.
    """
    problems = []
    for group in groups:
        missing = [name for name in group.models if published_file(name, group) is None]
        if missing:
            problems.append(
                f"{len(missing)} of {len(group.models)} models are not in {group.root}: "
                f"{', '.join(missing)}. Put each there as NAME{' or NAME'.join(_ENDINGS)}, the "
                f"state dict of {group.architecture}. Get them from: {group.origin}"
            )
    if problems:
        raise FileNotFoundError("\n".join(problems))


def check_files(config: ModelSelectionConfig) -> None:
    """Looks for the files of published models and the folders of all data, before hours of work.

    Raises:
        FileNotFoundError: when some are missing; one message names all, and where to get them.
    """
    problems = []
    try:
        check_published(config.published)
    except FileNotFoundError as error:
        problems.append(str(error))
    wanted = [("the source", config.source.data, config.source.origin)]
    wanted += [(f"the task {t.name}", t.data, t.origin) for t in config.tasks if t.data is not None]
    for what, data, origin in wanted:
        root = None if data.root is None else Path(data.root).expanduser()
        if data.name == "folder" and (root is None or not root.is_dir()):
            problems.append(
                f"{what} needs the folder {root}, with one folder of images per class, or such "
                f"folders in train and test.{f' Get it from: {origin}' if origin else ''}"
            )
    if problems:
        raise FileNotFoundError("\n".join(problems))
