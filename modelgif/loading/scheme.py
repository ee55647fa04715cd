"""What a scheme of model addresses is: how its models are built, and what may be done with it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import nn

if TYPE_CHECKING:
    # An address asks its scheme; only the annotations below need the address.
    from modelgif.loading.address import Address

# A network, and the mean, std and size that its input is known to need.
Built = tuple[nn.Module, dict[str, Any]]


class Build(Protocol):
    """Builds the network of an address.

    torch's random numbers are those of the address's seed, and put back afterwards.

    Args:
        address: of the scheme.
        download: whether missing files may be fetched.
        trust: what the caller allows to run code.
    """

    def __call__(self, address: "Address", *, download: bool, trust: Collection[str]) -> Built:
        """Returns the network and its preprocessing, empty if none is known."""
        ...


class CheckCard(Protocol):
    """Refuses an architecture in a card that would run code which the caller does not trust.

    Args:
        architecture: the address in the card.
        path: of the weights, for messages.
        trust: what the caller allows to run code.

    Raises:
        modelgif.loading.errors.UntrustedError: naming what would run, and the way out.
    """

    def __call__(self, architecture: "Address", path: Path, trust: Collection[str]) -> None:
        """Returns nothing for an architecture that may be built."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A kind of model address, declared once, in ``modelgif/loading/schemes/NAME.py``.

    Attributes:
        name: what stands before the colon; the module has the same name.
        example: a complete address.
        summary: what such an address names, in one line.
        build: makes the network.
        is_architecture: whether a card, or ``architecture=`` beside a file of weights, may name
            such an address.
        needs_trust: whether ``trust=`` must name what is loaded because loading runs code of its
            maker: never, always, or only when the address comes from a card.
        check_card: what refuses an untrusted address in a card; given if `needs_trust` is "in a
            card".
        is_path: whether the name is a path, whose last part without its suffix is a short name.
        library: module that must be installed for it, beside what this package depends on.
        extra: the extra of this package that installs `library`.
        trained: the query that asks for trained weights, such as ``pretrained=true``; without it
            weights are random. Empty where weights always come with the model.
    """

    name: str
    example: str
    summary: str
    build: Build
    is_architecture: bool = False
    needs_trust: Literal["never", "always", "in a card"] = "never"
    check_card: CheckCard | None = None
    is_path: bool = False
    library: str = ""
    extra: str = ""
    trained: str = ""

    @property
    def trained_key(self) -> str:
        """The key of `trained`, or empty."""
        return self.trained.partition("=")[0]
