"""Trust: whose code may run while a model is loaded."""

from collections.abc import Collection, Sequence

from modelgif.loading.address import Address
from modelgif.loading.errors import UntrustedError

TRUSTED = (
    "modelgif.experiment.backbone",
    "modelgif.experiment.cifar_resnet",
    "modelgif.experiment.networks",
)


def require_trust(
    address: Address, names: Sequence[str], reason: str, trust: Collection[str]
) -> None:
    """Refuses an address whose loading runs code, unless one of its `names` is trusted.

    Args:
        address: what was asked for.
        names: what `trust` may hold for it, spelled exactly like this; the first is recommended.
        reason: a sentence that says what would run.
        trust: what the caller trusts.

    Raises:
        UntrustedError: with the reason and the way out.
    """
    if not set(names) & set(trust):
        raise UntrustedError(
            f"{address.text} is refused: {reason} If you trust it, call load_model(…, "
            f"trust=({names[0]!r},))."
        )
