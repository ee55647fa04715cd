"""The files of the zoo that SAC's authors published: the paper's 155 models, victim, surrogates.

Source: Guan, Liang and He, Are you stealing my model?, NeurIPS 2022; names and architectures are
those of ``model_load.py`` in its repository, roles those of ModelGiF's ``ipp_task.py``. Models of
CIFAR-100 know ten of its classes. Pruned models lack one channel, then each 5 % more of all.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from intellectual_property_protection.member import Member
from intellectual_property_protection.recipe import Role
from intellectual_property_protection.recipes import RECIPES

DOWNLOAD = "https://drive.google.com/drive/folders/1idozSeUa9fHQBdPwMGWmQ7GhZuD3Rtpc"

_VGG = "vgg16_bn"
_N_CHANNELS = 4224  # of all its convolutions
_FOUR = tuple(a for a in ("vgg13", "resnet18", "densenet121", "mobilenet_v2") for _ in range(5))


class _Group(NamedTuple):
    """Files numbered from 0, and what is in them; one architecture is that of all."""

    file: str
    role: Role
    recipe: str
    architectures: tuple[str, ...]
    label_set: str = "source"
    first: int = 0


_GROUPS = (
    _Group("model/student_model_kd_{}.pth", "suspect", "extract_probability", _FOUR),
    _Group("model/student_model_1_{}.pth", "suspect", "extract_label", _FOUR),
    _Group("model/clean_model_{}.pth", "independent", "scratch", _FOUR),
    _Group("finetune_model/finetune_C_{}.pth", "suspect", "transfer", (_VGG,) * 10, "cifar100"),
    _Group("finetune_model/CIFAR100{}.pth", "independent", "scratch", (_VGG,) * 10, "cifar100"),
    _Group(
        "finetune_model/finetune_cifar10c_{}.pth", "suspect", "transfer", (_VGG,) * 10, "cifar10c"
    ),
    _Group(
        *("finetune_model/CIFAR10C_{}.pth", "independent", "scratch"),
        (_VGG,) * 5 + ("resnet18",) * 5,
        "cifar10c",
    ),
    _Group("adv_train/adv_{}.pth", "suspect", "extract_adversarial", _FOUR),
    _Group("Fine-Pruning/prune_model_{}.pth", "suspect", "fine_prune", (_VGG,) * 15),
    _Group("finetune_10/finetune{}.pth", "suspect", "finetune_all", (_VGG,) * 10),
    _Group("finetune_10/finetune{}.pth", "suspect", "finetune_last", (_VGG,) * 10, first=10),
    _Group(
        *("model/student_model_tk_{}.pth", "surrogate", "extract_probability"),
        ("vgg19_bn",) * 3 + ("resnet34",) * 3,
    ),
)


@cache
def published_files() -> Mapping[Member, str]:
    """Returns the file of every member, below the folder of all; the victim comes first."""
    victim = Member(f"victim-{_VGG}-0", "victim", "scratch", f"torchvision:{_VGG}", data="victim")
    found = {victim: "model/vgg_model.pth"}
    for group in _GROUPS:
        derived = group.role != "independent"
        words = [group.role] if group.role != "suspect" else []
        words += [group.recipe] if derived else []
        words += [group.label_set] if group.label_set != "source" else []
        for i, architecture in enumerate(group.architectures, group.first):
            pruned = RECIPES[group.recipe].needs_ratio
            ratio = round(0.05 * i or 1 / _N_CHANNELS, 4) if pruned else None
            member = Member(
                f"{'_'.join(words)}-{architecture}-{i}",
                group.role,
                group.recipe,
                f"torchvision:{architecture}",
                ratio,
                parent=victim.name if derived else None,
                label_set=group.label_set,
                replicate=i,
            )
            found[member] = group.file.format(i)
    return found


def published_file(root: Path, member: Member) -> Path:
    """Returns the file of `member` in `root`, the one that ends in ``.safetensors`` if it is there.

    That is how a file which cannot be read safely is replaced by what it holds.
    """
    path = root / published_files()[member]
    converted = path.with_suffix(".safetensors")
    return converted if converted.is_file() else path


def check_published(root: Path) -> None:
    """Looks for all files of the zoo in `root`.

    Raises:
        FileNotFoundError: when some are missing; one message says which, and where to get them.
    """
    missing: dict[str, list[str]] = {
        str(Path(name).parent): [] for name in published_files().values()
    }
    for member, name in published_files().items():
        if not published_file(root, member).is_file():
            missing[str(Path(name).parent)].append(Path(name).name)
    n_missing = sum(map(len, missing.values()))
    if n_missing:
        where = ", ".join(f"{len(m)} in {f} ({m[0]} …)" for f, m in missing.items() if m)
        raise FileNotFoundError(
            f"{n_missing} of the {len(published_files())} files of the published zoo are not in "
            f"{root}: {where}. Download the folders {', '.join(missing)} from {DOWNLOAD} and put "
            "them there under their own names, or let published.root name the folder that has them."
        )
