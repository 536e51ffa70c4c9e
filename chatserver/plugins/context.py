"""What a plugin is handed at startup: its only door to the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from chatserver import clock
from chatserver.domain.extend import Egress, Setting
from chatserver.errors import SetupError
from chatserver.plugins.fence import FencedDatabase, PlainDatabase

SettingValue = str | int | float | bool
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off", ""}


class Context:
    """`ctx`, one per plugin.

    db: read and write, within tables named `<plugin>_…`. http: the one egress client. settings: the declared settings
    by name, of their declared kind, secrets left out. clock: now_us, monotonic_s, new_id. log: structlog, bound to the
    plugin's name. pages: the plugin's templates and static files. blobs: content in the plugin's own name; files: those
    of an Actor. calls: ask a model, outside any chat. speech: voices and who listens. vault: seals texts that are kept.
    probes: whether channels answer. notices: tell and clear what the admins should know. audit: notes who did what.
    metrics: figures of its own at /metrics. jobs, events, accounts, conversations: services of the core; one that is
    not there yet is None.
    """

    name: str
    clock: ModuleType = clock

    def __init__(
        self,
        name: str,
        *,
        db: PlainDatabase | None,
        http: Egress | None,
        settings: Mapping[str, SettingValue],
        secrets: Mapping[str, str],
        log: Any,
        services: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.settings = settings
        self.log = log
        self._db = FencedDatabase(db, f"{name}_") if db is not None else None
        self._http = http
        self._secrets = secrets
        self.jobs: Any = services.get("jobs")
        self.events: Any = services.get("events")
        self.blobs: Any = services["blobs"].of_plugin(name) if "blobs" in services else None
        self.files: Any = services["files"].of_plugin(name) if "files" in services else None
        self.accounts: Any = services.get("accounts")
        self.conversations: Any = services.get("conversations")
        self.calls: Any = services.get("calls")
        self.speech: Any = services.get("speech")
        self.probes: Any = services.get("probes")
        self.vault: Any = services["vaults"].of_plugin(name) if "vaults" in services else None
        self.audit: Any = services["audit"].of_plugin(name) if "audit" in services else None
        self.metrics: Any = services["metrics"].of_plugin(name) if "metrics" in services else None
        self.notices: Any = services["notices"].of_plugin(name) if "notices" in services else None
        self.pages: Any = services["pages"].of_plugin(name) if "pages" in services else None

    def __repr__(self) -> str:
        return f"Context({self.name!r})"

    @property
    def db(self) -> FencedDatabase:
        assert self._db is not None, "this house was started without a database"
        return self._db

    @property
    def http(self) -> Egress:
        assert self._http is not None, "this house was started without a way out"
        return self._http

    def secret(self, name: str) -> str | None:
        """A declared secret, or None while it is not set; there is no default and no empty secret."""
        if name not in self._secrets:
            raise SetupError(f"The plugin {self.name} asks for the secret {name!r}, which it does not declare.")
        return self._secrets[name] or None


def convert_settings(
    plugin: str, declared: Sequence[Setting], values: Mapping[str, str]
) -> tuple[dict[str, SettingValue], dict[str, str]]:
    """(settings, secrets) from the texts of file and environment. Raises SetupError naming what does not fit."""
    settings: dict[str, SettingValue] = {}
    secrets: dict[str, str] = {}
    for one in declared:
        text = values.get(one.name, one.default)
        if one.kind == "secret":
            secrets[one.name] = text
        else:
            settings[one.name] = _convert(plugin, one, text)
    return settings, secrets


def _convert(plugin: str, setting: Setting, text: str) -> SettingValue:
    where = f"[plugins.{plugin}] {setting.name}"
    if setting.kind == "text":
        return text
    if setting.kind == "boolean":
        if text.strip().lower() in _YES | _NO:
            return text.strip().lower() in _YES
        raise SetupError(f"{where} must be true or false, and is {text!r}.")
    if setting.kind == "number":
        try:
            return int(text or "0") if text.strip().lstrip("+-").isdigit() or not text else float(text)
        except ValueError:
            raise SetupError(f"{where} must be a number, and is {text!r}.") from None
    raise SetupError(f"The plugin {plugin} declares {setting.name} with the unknown kind {setting.kind!r}.")
