"""A setting of the house or of a plugin as it stands: its value, where that comes from, and what it means."""

from __future__ import annotations

from typing import Literal

import msgspec

Source = Literal["option", "environment", "file", "console", "default"]


class SettingLine(msgspec.Struct, frozen=True):
    """name: as the file writes it, dotted: `host`, `limits.upload_mb`, `plugins.gateway.heartbeat_minutes`.

    kind: text | number | boolean | secret. value: '' for a secret, of which only is_set is told. where: the variable's
    name or the file, for those two sources. is_live: may be changed while the server runs, unless it is_locked.
    least, most: of a number, None for any. choices: all that a text may be, () for any.
    """

    name: str
    help: str
    kind: str = "text"
    value: str = ""
    source: Source = "default"
    where: str = ""
    default: str = ""
    is_set: bool = False
    is_live: bool = False
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_locked(self) -> bool:
        """Whoever started the server has said it; the console does not overrule."""
        return self.source in ("option", "environment", "file")

    @property
    def plugin(self) -> str:
        """The plugin it belongs to, '' for the core's."""
        return self.name.split(".")[1] if self.name.startswith("plugins.") and self.name.count(".") > 1 else ""
