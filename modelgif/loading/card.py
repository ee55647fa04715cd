"""Cards: what a checkpoint says of its weights, as a small JSON file."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelgif.loading.address import parse_architecture
from modelgif.loading.errors import CardError
from modelgif.loading.preprocessing import checked_preprocessing

SCHEMA_VERSION = 1
DIGEST_KEY = "card_sha256"
# Enough for any recipe; no card can make a reader read gigabytes.
LARGEST_CARD = 2**20


def card_text(card: Mapping[str, Any]) -> str:
    """Returns the JSON of a card with the digest of its content; equal cards give equal strings.

    Raises:
        ValueError: for a card that would not be read back, or is not plain finite JSON.
    """
    plain = _without(card, DIGEST_KEY)
    check_card(plain)
    whole = plain | {DIGEST_KEY: _digest(plain)}
    text = json.dumps(whole, sort_keys=True, indent=2, allow_nan=False) + "\n"
    if len(text.encode()) > LARGEST_CARD:
        raise ValueError(f"a card has at most {LARGEST_CARD:,} bytes, got {len(text.encode()):,}.")
    return text


def parse_card(path: Path) -> dict[str, Any]:
    """Returns the card in the file `path`, without its own digest.

    A card without a digest is taken as it is, so that one can be written by hand.

    Raises:
        CardError: for anything but a valid card, with the reason.
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_CARD + 1)
    if len(content) > LARGEST_CARD:
        raise CardError(f"a card has at most {LARGEST_CARD:,} bytes.")
    try:
        card = json.loads(content.decode(), parse_constant=_refuse, object_pairs_hook=_once)
        check_card(card)
        sound = _has_digest(card)
        card.pop(DIGEST_KEY, None)
    except (ValueError, TypeError, RecursionError) as error:
        raise CardError(str(error)[:500]) from error
    if not sound:
        raise CardError(
            f"its content does not have the digest it states; if you changed it on purpose, remove "
            f"{DIGEST_KEY}."
        )
    return card


def check_card(card: object) -> None:
    """Checks what every card must have.

    Raises:
        ValueError: naming what is wrong.
    """
    if not isinstance(card, dict):
        raise ValueError(f"a card must be a JSON object, got a {type(card).__name__}.")
    version = card.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"expected schema_version {SCHEMA_VERSION}, got {repr(version)[:80]}.")
    digest = card.get("weights_sha256")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"weights_sha256 must be 64 hexadecimal digits, got {repr(digest)[:80]}.")
    parse_architecture(card.get("architecture"))
    checked_preprocessing(card.get("preprocessing", {}))


def _has_digest(card: Mapping[str, Any]) -> bool:
    """Whether a card has the digest that it states, if it states one."""
    if DIGEST_KEY in card:
        return card[DIGEST_KEY] == _digest(_without(card, DIGEST_KEY))
    # The name of the digest may be damaged, too.
    digests = [key for key, value in card.items() if isinstance(value, str) and len(value) == 64]
    return not any(card[key] == _digest(_without(card, key)) for key in digests)


def _without(card: Mapping[str, Any], left_out: str) -> dict[str, Any]:
    return {key: value for key, value in card.items() if key != left_out}


def _digest(card: Mapping[str, Any]) -> str:
    text = json.dumps(card, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice.")
    return found
