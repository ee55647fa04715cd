"""The errors of loading, from the outermost to those that it explains."""


class CheckpointError(ValueError):
    """Weights or a card that are missing, damaged, refused, or do not fit the network."""


class UntrustedError(CheckpointError):
    """Code that loading a model would run, and that the caller does not trust."""


class CardError(ValueError):
    """A card that is damaged or not valid."""


class PlainPickleError(ValueError):
    """A pickle that is damaged, or would do more than rebuild tensors and plain values."""


class ArchitectureError(ValueError):
    """An architecture that is far larger than the weights it is said to belong to."""
