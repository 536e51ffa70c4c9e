"""Every setting as the operator told it: its value, where that comes from, and what it means; secrets stay out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from chatserver.domain.extend import Setting
from chatserver.domain.house_settings import SettingLine, Source
from chatserver.settings import DEFAULT_HOST, DEFAULT_PORT, LOG_LEVELS, Limits, Settings


def _(sentence: str) -> str:
    """Marks a sentence for the catalogues; it is translated where it is read."""
    return sentence


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
LIMIT_MOST = 1_000_000_000
CORE = {
    "host": _("Where the server listens."),
    "port": _("Where the server listens; 0 picks a free one."),
    "data": _("Where the database, uploads and backups are."),
    "config": _("The configuration file."),
    "public_url": _("What people type to get here. Without it only this machine is served."),
    "secret_key": _("What sessions, forms and stored keys depend on. It is in no backup."),
    "database_url": _("The database, where it is not SQLite in the data folder."),
    "redis_url": _("Where the nodes wake each other, instead of in the database."),
    "blob_url": _("Where the content of files lies, when not in the data folder."),
    "trusted_proxies": _("Addresses whose word about who asks is believed."),
    "grace_s": _("How many seconds running answers get when the server is asked to stop."),
    "log_level": _("How much the log tells: debug, info, warning or error."),
    "log_format": _("How the log is written: text, json, or auto, which is text on a terminal."),
    "plugins.enabled": _("Plugins that are not ours and may be loaded."),
    "plugins.disabled": _("Plugins that are not loaded, whatever else is said."),
}
NUMBERS = {"port": 65_535, "grace_s": 3_600}
"""The core's numbers, with the most that each may be."""
DEFAULTS = {"host": DEFAULT_HOST, "port": str(DEFAULT_PORT), "grace_s": "30", "log_level": "info", "log_format": "auto"}
LIMITS = {
    "turns_per_account": _("Answers being written at once, of one account."),
    "turns_per_node": _("Answers being written at once, on one node."),
    "streams_per_account": _("Open streams of one account; every visible page has one."),
    "connections_per_address": _("Connections from one address at once."),
    "sends_per_minute": _("Questions of one account in a minute."),
    "api_requests_per_minute": _("Requests of one account's programs in a minute."),
    "shared_pages_per_minute": _("Pages of shared chats in a minute, for one address."),
    "sign_ins_per_quarter_hour": _("Failed sign-ins to one account from one network in 15 minutes."),
    "sign_ups_per_hour": _("New accounts in an hour, from one address."),
    "upload_mb": _("How large one file may be, in MB."),
    "storage_mb": _("How much all files of an account may take, in MB."),
    "files_per_account": _("How many files an account may have."),
}


def setting_lines(settings: Settings, declared: Mapping[str, Sequence[Setting]]) -> tuple[SettingLine, ...]:
    """The core's, its limits, then each plugin's. declared: by plugin."""
    own = [_core_line(settings, name, meaning) for name, meaning in CORE.items()]
    limits = [
        SettingLine(
            f"limits.{name}",
            meaning,
            "number",
            str(getattr(settings.limits, name)),
            *_source_of(settings, f"limits.{name}"),
            default=str(getattr(Limits(), name)),
            is_set=True,
            is_live=True,
            least=0,
            most=LIMIT_MOST,
        )
        for name, meaning in LIMITS.items()
    ]
    plugins = [_plugin_line(settings, plugin, one) for plugin in sorted(declared) for one in declared[plugin]]
    return (*own, *limits, *plugins)


def _core_line(settings: Settings, name: str, meaning: str) -> SettingLine:
    values: dict[str, str] = {
        "data": str(settings.data_dir),
        "config": str(settings.config_file),
        "secret_key": "",
        "database_url": _without_password(settings.database_url),
        "redis_url": _without_password(settings.redis_url),
        "blob_url": _without_password(settings.blob_url),
        "trusted_proxies": ", ".join(settings.trusted_proxies),
        "grace_s": f"{settings.grace_s:g}",
        "plugins.enabled": ", ".join(settings.plugins_enabled),
        "plugins.disabled": ", ".join(settings.plugins_disabled),
    }
    value = values[name] if name in values else str(getattr(settings, name))
    source, where = _source_of(settings, name)
    is_secret = name == "secret_key"
    return SettingLine(
        name,
        meaning,
        "secret" if is_secret else "number" if name in NUMBERS else "text",
        value,
        source,
        where,
        default=DEFAULTS.get(name, ""),
        is_set=bool(settings.secret_key if is_secret else value),
        is_live=name in ("grace_s", "log_level"),
        least=0 if name in NUMBERS else None,
        most=NUMBERS.get(name),
        choices=LOG_LEVELS if name == "log_level" else (),
    )


def _plugin_line(settings: Settings, plugin: str, one: Setting) -> SettingLine:
    told, where = settings.plugin_text(plugin, one)
    source: Source = "default" if not where else "environment" if where == one.env else "file"
    text = told if where else one.default
    return SettingLine(
        f"plugins.{plugin}.{one.name}",
        one.help,
        one.kind,
        "" if one.kind == "secret" else _without_password(text),
        source,
        where,
        "" if one.kind == "secret" else one.default,
        is_set=bool(text),
        is_live=one.is_live and one.kind != "secret",
        least=one.least,
        most=one.most,
        choices=one.choices,
    )


def _source_of(settings: Settings, name: str) -> tuple[Source, str]:
    told = settings.source_of(name)
    if told == "option":
        return "option", ""
    if told == "default":
        return "default", ""
    return ("environment" if _VARIABLE.fullmatch(told) else "file"), told


def _without_password(text: str) -> str:
    """An address as it may be shown: without user, password, and what follows a question mark."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "…"
