"""chatserver.toml and the environment, read once into frozen Structs; the only room that reads the environment."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from chatserver.domain.extend import Setting
from chatserver.domain.models import Channel, ModelAlias, first_token_patience_s, parse_alias
from chatserver.errors import SetupError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000
SECRET_MIN_CHARACTERS = 32
LOG_LEVELS = ("info", "debug", "warning", "error")
LOG_FORMATS = ("auto", "text", "json")
DATABASE_NAME = "chatserver.sqlite"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[limits]`: each answers 429 with its name; 0 switches it off."""

    turns_per_account: int = 4
    turns_per_node: int = 1024
    streams_per_account: int = 6
    connections_per_address: int = 256
    sends_per_minute: int = 20
    api_requests_per_minute: int = 60
    shared_pages_per_minute: int = 120
    sign_ins_per_quarter_hour: int = 10
    sign_ups_per_hour: int = 5
    upload_mb: int = 25
    storage_mb: int = 1024
    files_per_account: int = 2000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server was told. sources: by field, `option`, a variable's name, a file, or `default`.

    public_url: no slash at the end; empty means loopback only. grace_s: what running turns get at a polite stop.
    """

    host: str
    port: int
    data_dir: Path
    config_file: Path
    public_url: str
    secret_key: bytes
    database_url: str
    redis_url: str
    blob_url: str
    limits: Limits
    channels: tuple[Channel, ...]
    plugins_enabled: tuple[str, ...]
    plugins_disabled: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    grace_s: float
    log_level: str
    log_format: str
    sources: dict[str, str]
    plugin_tables: dict[str, dict[str, Any]]
    environ: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Settings(data_dir={str(self.data_dir)!r}, config_file={str(self.config_file)!r})"

    @property
    def database_file(self) -> Path:
        return self.data_dir / DATABASE_NAME

    def source_of(self, name: str) -> str:
        return self.sources.get(name, "default")

    def for_plugin(self, plugin: str, declared: Sequence[Setting]) -> dict[str, str]:
        """The texts of what a plugin declared: its environment variable over `[plugins.<plugin>]` over its default."""
        table = self.plugin_tables.get(plugin, {})
        _refuse_unknown(table, {one.name for one in declared}, self.config_file, f"[plugins.{plugin}] ")
        texts = {one.name: self.plugin_text(plugin, one) for one in declared}
        return {name: text for name, (text, source) in texts.items() if source}

    def plugin_text(self, plugin: str, one: Setting) -> tuple[str, str]:
        """What was told of a plugin's setting, and by which variable or file; both '' when nothing was."""
        if one.env and self.environ.get(one.env):
            return self.environ[one.env], one.env
        table = self.plugin_tables.get(plugin, {})
        if one.name not in table:
            return "", ""
        where = f"{self.config_file}: [plugins.{plugin}] {one.name}"
        text = _text_of(table[one.name], where)
        if one.kind == "secret":
            text = _resolve_secret(text, self.environ, where)
        return text, str(self.config_file)


class ChannelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[channels]]` as written. A time that is not given is the channel's own default."""

    name: str
    provider: str
    base_url: str = ""
    api_key: str = ""
    models: tuple[str, ...] = ()
    priority: int = 0
    weight: int = 1
    groups: tuple[str, ...] = ("default",)
    first_token_s: float | None = None
    gap_s: float | None = None
    total_s: float | None = None
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    on: bool = True
    note: str = ""


_QUOTAS = ("requests_per_minute", "tokens_per_minute", "concurrency")
_TIMES = ("first_token_s", "gap_s", "total_s")


class FileTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of chatserver.toml as written. limits_given: which of the limits stand there; no key of the file."""

    host: str = ""
    port: int | None = None
    data: str = ""
    public_url: str = ""
    secret_key: str = ""
    database_url: str = ""
    redis_url: str = ""
    blob_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    grace_s: float | None = None
    log_level: str = ""
    log_format: str = ""
    channels: tuple[ChannelTable, ...] = ()
    plugins: dict[str, Any] = {}
    limits: Limits = Limits()
    limits_given: tuple[str, ...] = ()


def load(options: Mapping[str, Any], environ: Mapping[str, str] | None = None, *, makes_key: bool = True) -> Settings:
    """Options win over the environment, that over the file, that over the default. Raises SetupError with a sentence.

    options: host, port, data, config, as given on the command line; None where not given. environ: the process's own
    when None. makes_key: make the secret key when there is none yet.
    """
    environ = os.environ if environ is None else environ
    config_file = _config_file(options, environ)
    table = read_file(config_file)
    given = _Given(options, environ, table, config_file)
    data_dir = Path(given.text("data", "CHATSERVER_DATA") or own_folder(environ, "data"))
    database_url = given.text("database_url", "CHATSERVER_DATABASE_URL")
    plugins = dict(table.plugins)
    enabled = _names(plugins.pop("enabled", []), config_file, "enabled")
    disabled = _names(plugins.pop("disabled", []), config_file, "disabled")
    for name, section in plugins.items():
        if not isinstance(section, dict):
            raise SetupError(f"{config_file}: [plugins] has the unknown key {name!r}; it knows enabled and disabled.")
    in_file = {"grace_s": table.grace_s, "trusted_proxies": table.trusted_proxies}
    given.sources |= {name: str(config_file) for name, value in in_file.items() if value not in (None, ())}
    if options.get("config") or environ.get("CHATSERVER_CONFIG"):
        given.sources["config"] = "option" if options.get("config") else "CHATSERVER_CONFIG"
    given.sources |= {f"limits.{name}": str(config_file) for name in table.limits_given}
    settings = Settings(
        host=given.text("host", "CHATSERVER_HOST") or DEFAULT_HOST,
        port=given.number("port", "CHATSERVER_PORT", DEFAULT_PORT),
        data_dir=data_dir.expanduser().absolute(),
        config_file=config_file,
        public_url=check_public_url(given.text("public_url", "CHATSERVER_PUBLIC_URL")),
        secret_key=_secret_key(given, environ, config_file, makes_key=makes_key),
        database_url=database_url,
        redis_url=given.text("redis_url", "CHATSERVER_REDIS_URL"),
        blob_url=given.text("blob_url", "CHATSERVER_BLOB_URL"),
        limits=table.limits,
        channels=_channels(table, environ, config_file),
        plugins_enabled=enabled,
        plugins_disabled=disabled,
        trusted_proxies=_networks(table.trusted_proxies, config_file),
        log_level=given.one_of("log_level", "CHATSERVER_LOG_LEVEL", LOG_LEVELS),
        log_format=given.one_of("log_format", "CHATSERVER_LOG_FORMAT", LOG_FORMATS),
        grace_s=30.0 if table.grace_s is None else table.grace_s,
        sources=given.sources,
        plugin_tables=plugins,
        environ=environ,
    )
    if not 0 <= settings.port <= 65535:
        raise SetupError(
            f"The port must be between 0 and 65535, and is {settings.port} ({settings.source_of('port')})."
        )
    return settings


def check_public(settings: Settings) -> None:
    """Serving beyond this machine takes a public address: without one, any name that points here would be answered."""
    if not settings.public_url and not is_loopback(settings.host):
        raise SetupError(
            f"To serve on {settings.host}, set CHATSERVER_PUBLIC_URL to the address people will type, "
            "for example https://chat.example.org; without it only this machine is served."
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Given:
    """Looks a value up in the order of precedence and remembers where it was found."""

    def __init__(
        self, options: Mapping[str, Any], environ: Mapping[str, str], table: FileTable, config_file: Path
    ) -> None:
        self._options = options
        self._environ = environ
        self._table = table
        self._config_file = config_file
        self.sources: dict[str, str] = {}

    def text(self, name: str, variable: str) -> str:
        if self._options.get(name) not in (None, ""):
            self.sources[name] = "option"
            return str(self._options[name])
        if self._environ.get(variable):
            self.sources[name] = variable
            return self._environ[variable]
        in_file = getattr(self._table, name)
        if in_file not in (None, ""):
            self.sources[name] = str(self._config_file)
            return str(in_file)
        return ""

    def one_of(self, name: str, variable: str, known: Sequence[str]) -> str:
        """The first of those known when nothing is given."""
        text = self.text(name, variable) or known[0]
        if text not in known:
            raise SetupError(f"{self.sources[name]}: {name} must be one of {', '.join(known)}, and is {text!r}.")
        return text

    def number(self, name: str, variable: str, default: int) -> int:
        text = self.text(name, variable)
        try:
            return int(text) if text else default
        except ValueError:
            raise SetupError(f"{self.sources[name]}: {name} must be a number, and is {text!r}.") from None


def _config_file(options: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    text = options.get("config") or environ.get("CHATSERVER_CONFIG")
    path = Path(text) if text else own_folder(environ, "config") / "chatserver.toml"
    return path.expanduser().absolute()


def own_folder(environ: Mapping[str, str], purpose: Literal["data", "config"], platform: str = sys.platform) -> Path:
    """Where the platform keeps a program's own data or configuration."""
    home = Path(environ.get("HOME") or Path.home())
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        usual = home / ".local" / "share" if purpose == "data" else home / ".config"
        base = Path(environ.get(f"XDG_{purpose.upper()}_HOME", "").strip() or usual)
    return base / "chatserver"


def read_file(path: Path) -> FileTable:
    """What the file says; an absent file says nothing. Raises SetupError naming file and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return FileTable()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} cannot be read: {error}.") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is not valid TOML: {error}.") from error
    _refuse_unknown(raw, set(FileTable.__struct_fields__) - {"limits_given"}, path, "")
    _refuse_unknown(raw.get("limits", {}), set(Limits.__struct_fields__), path, "[limits] ")
    rows = raw.get("channels", [])
    for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
        _refuse_unknown(row, set(ChannelTable.__struct_fields__), path, f"[[channels]] number {number}: ")
    try:
        table = msgspec.convert(raw, FileTable)
        return msgspec.structs.replace(table, limits_given=tuple(raw.get("limits", ())))
    except msgspec.ValidationError as error:
        raise SetupError(f"{path}: {error}.") from error


def _refuse_unknown(table: Any, known: set[str], path: Path, where: str) -> None:
    unknown = sorted(set(table) - known) if isinstance(table, dict) else []
    if unknown:
        names = ", ".join(sorted(known)) or "nothing"
        raise SetupError(f"{path}: {where}the key {unknown[0]!r} is unknown; known here: {names}.")


def _channels(table: FileTable, environ: Mapping[str, str], path: Path) -> tuple[Channel, ...]:
    channels: dict[str, Channel] = {}
    for one in table.channels:
        where = f"{path}: channel {one.name!r}"
        if not one.name or one.name in channels:
            raise SetupError(f"{where}: every channel needs a name of its own.")
        if one.base_url and urlsplit(one.base_url).scheme not in ("http", "https"):
            raise SetupError(f"{where}: base_url must begin with http:// or https://.")
        for name in ("weight", *_QUOTAS):
            if getattr(one, name) < 0:
                raise SetupError(f"{where}: {name} must be 0 or more.")
        channels[one.name] = Channel(
            name=one.name,
            provider=one.provider,
            base_url=one.base_url.rstrip("/"),
            api_key=_resolve_secret(one.api_key, environ, f"{where}: api_key"),
            models=_aliases(one.models, where),
            priority=one.priority,
            weight=one.weight,
            groups=one.groups,
            requests_per_minute=one.requests_per_minute,
            tokens_per_minute=one.tokens_per_minute,
            concurrency=one.concurrency,
            note=one.note,
            is_on=one.on,
            **{
                "first_token_s": first_token_patience_s(one.base_url),
                **{name: value for name in _TIMES if (value := getattr(one, name)) is not None},
            },
        )
    return tuple(channels.values())


def _aliases(texts: Sequence[str], where: str) -> tuple[ModelAlias, ...]:
    aliases = {alias.public: alias for alias in map(parse_alias, texts)}
    if "" in aliases or len(aliases) < len(texts):
        raise SetupError(f"{where}: models must be names, or public=upstream, each public name once.")
    return tuple(aliases.values())


def _resolve_secret(text: str, environ: Mapping[str, str], where: str) -> str:
    """`env:NAME` or a literal."""
    if not text.startswith("env:"):
        return text
    value = environ.get(text.removeprefix("env:"))
    if not value:
        raise SetupError(f"{where} names the environment variable {text.removeprefix('env:')}, which is not set.")
    return value


def _names(value: Any, path: Path, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise SetupError(f"{path}: [plugins] {key} must be a list of names.")
    return tuple(value)


def _text_of(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    raise SetupError(f"{where} must be a text, a number, true or false, or a list of texts.")


def _networks(values: Sequence[str], path: Path) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise SetupError(f"{path}: trusted_proxies: {value!r} is not an address or network.") from None
    return tuple(values)


def check_public_url(text: str) -> str:
    """`https://host[:port]`, nothing after it. Raises SetupError."""
    url = text.strip().rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or parts.path or parts.query or parts.fragment or parts.username:
        raise SetupError(f"The public URL must look like https://chat.example.org, without a path, and is {text!r}.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _secret_key(given: _Given, environ: Mapping[str, str], config_file: Path, *, makes_key: bool) -> bytes:
    text = _resolve_secret(given.text("secret_key", "CHATSERVER_SECRET_KEY"), environ, "secret_key")
    if text:
        return _long_enough(text, given.sources["secret_key"])
    path = config_file.with_suffix(".key")
    given.sources["secret_key"] = str(path)
    if not path.exists():
        if not makes_key:
            return b""
        _make_key(path)
    try:
        return _long_enough(path.read_text(encoding="ascii").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The secret key {path} cannot be read: {error}.") from error


def _long_enough(text: str, source: str) -> bytes:
    if len(text) < SECRET_MIN_CHARACTERS:
        raise SetupError(f"The secret key ({source}) must have at least {SECRET_MIN_CHARACTERS} characters.")
    return text.encode()


def _make_key(path: Path) -> None:
    """Whole or not at all, readable by its owner only; of two that start at once, one makes it and both use it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(48) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, path)
        finally:
            unfinished.unlink()
    except OSError as error:
        raise SetupError(
            f"The secret key cannot be made at {path}: {error}. Set CHATSERVER_SECRET_KEY or make the folder writable."
        ) from error
