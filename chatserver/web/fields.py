"""What a form or an address hands to plugins: `name` is a text, `name.key` and `name.key.key` make an object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

DEPTH = 4
"""How many keys a name may hold; what follows the last is part of it."""


def read_fields(given: Mapping[str, str], leave_out: Collection[str] = ()) -> dict[str, msgspec.Raw]:
    """By plugin name, as raw JSON."""
    found: dict[str, Any] = {}
    for path, value in given.items():
        if path in leave_out:
            continue
        name, *keys = path.split(".", DEPTH)
        if not keys:
            found.setdefault(name, value)
            continue
        place = found[name] = found[name] if isinstance(found.get(name), dict) else {}
        for key in keys[:-1]:
            inner = place.get(key)
            place[key] = inner if isinstance(inner, dict) else {}
            place = place[key]
        place[keys[-1]] = value
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in found.items()}
