"""What an admin typed of a channel, checked before it becomes a row: each fault in a sentence, nothing repaired behind
their back but space around words."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chatserver.domain.channels import ChannelWish
from chatserver.domain.models import parse_alias
from chatserver.errors import BadInput
from chatserver.plugins.base_urls import check_address

NAME_LIMIT, KEY_LIMIT = 60, 4_000
MODELS_LIMIT, MODEL_NAME_LIMIT, NOTE_LIMIT = 500, 200, 1_000
GROUPS_LIMIT, GROUP_NAME_LIMIT = 50, 60
RANK_LIMIT = 1_000
QUOTA_LIMIT = 2_000_000_000


def check_wish(wish: ChannelWish) -> ChannelWish:
    """The wish without stray space and doubled names. Raises BadInput."""
    name = wish.name.strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise BadInput(
            "Give the channel a name of at most %(most)s characters.",
            code="bad_name",
            status=422,
            values={"most": NAME_LIMIT},
        )
    for number, most in (
        (wish.priority, RANK_LIMIT),
        (wish.weight, RANK_LIMIT),
        (wish.requests_per_minute, QUOTA_LIMIT),
        (wish.tokens_per_minute, QUOTA_LIMIT),
        (wish.concurrency, QUOTA_LIMIT),
    ):
        if not 0 <= number <= most:
            raise BadInput(
                "A number is out of range: it must be between 0 and %(most)s.",
                code="bad_number",
                status=422,
                values={"most": most},
            )
    return msgspec.structs.replace(
        wish,
        name=name,
        base_url=address_of(wish.base_url),
        api_key=check_key(wish.api_key),
        models=check_models(wish.models),
        groups=check_groups(wish.groups) or ("default",),
        note=wish.note.strip()[:NOTE_LIMIT],
    )


def check_models(names: Iterable[str]) -> tuple[str, ...]:
    """Each `public=upstream`, or one name for both. Raises BadInput."""
    found: dict[str, str] = {}
    for text in (name.strip() for name in names):
        if not text:
            continue
        alias = parse_alias(text)
        is_good = alias.public and alias.upstream and text.isprintable()
        if not is_good or max(len(alias.public), len(alias.upstream)) > MODEL_NAME_LIMIT:
            raise BadInput(
                "A model is written as name, or as name=upstream-name; this is not: %(text)s",
                code="bad_model",
                status=422,
                values={"text": text[:80]},
            )
        if alias.public in found:
            raise BadInput(
                "The model %(model)s is named twice. Take one of them out.",
                code="bad_model",
                status=422,
                values={"model": alias.public},
            )
        found[alias.public] = alias.public if alias.public == alias.upstream else f"{alias.public}={alias.upstream}"
    if len(found) > MODELS_LIMIT:
        raise BadInput(
            "A channel may name %(most)s models. Take some out.",
            code="bad_model",
            status=422,
            values={"most": MODELS_LIMIT},
        )
    return tuple(found.values())


def check_groups(names: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises BadInput."""
    groups = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(groups) > GROUPS_LIMIT or any(len(one) > GROUP_NAME_LIMIT or not one.isprintable() for one in groups):
        raise BadInput(
            "A group's name may have %(most)s characters. Write groups with commas between them.",
            code="bad_group",
            status=422,
            values={"most": GROUP_NAME_LIMIT},
        )
    return groups


def address_of(text: str) -> str:
    """'' means the provider's own. Raises BadInput."""
    return check_address(text) if text.strip() else ""


def check_key(text: str) -> str:
    """Raises BadInput: a key is one line of printable ASCII, as it goes into a header."""
    key = text.strip()
    if len(key) > KEY_LIMIT or not key.isascii() or not all(character.isprintable() for character in key):
        raise BadInput(
            "That is no key: it must be one line of plain letters. Copy it again.", code="bad_key", status=422
        )
    return key
