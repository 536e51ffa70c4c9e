"""What plugins and the core hand each other: pure values, and the protocols of what a plugin brings."""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
)
from typing import Any, Protocol

import msgspec

from chatserver.domain.access import Account, Actor, Origin
from chatserver.domain.api import ApiAnswer, ApiVisit
from chatserver.domain.calls import CallKind, Usage
from chatserver.domain.files import BlobEntry
from chatserver.domain.messages import Parts, Role
from chatserver.domain.models import Candidate, Channel, Model
from chatserver.domain.pages import PageAnswer, PageVisit, PublicVisit
from chatserver.domain.sources import Source
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta


class Refusal(msgspec.Struct, frozen=True):
    """A polite no: a stable code, a sentence, and what the person can do next. status: the HTTP status it answers."""

    code: str
    message: str
    next_step: str = ""
    status: int = 403
    retry_after_s: float | None = None


class SendRequest(msgspec.Struct, frozen=True):
    """A request for a reply, before anything of it is kept.

    model: '' when the sender named none; a plugin may. fields: what the sender handed to plugins, by plugin name, as
    raw JSON. above: the fields of the turn before it on its branch; asked again, of the turn it stands beside. labels:
    what will be written on the turn and its calls.
    """

    account: Account
    origin: Origin
    conversation_id: str
    model: str = ""
    fields: dict[str, msgspec.Raw] = {}
    above: dict[str, msgspec.Raw] = {}
    labels: dict[str, str] = {}


class Admission(msgspec.Struct, frozen=True):
    """A call that asks to be let in. `call_id` is made before, and is the id of any hold. max_output 0: no bound."""

    call_id: str
    account: Account
    origin: Origin
    kind: CallKind
    model: str
    input_tokens: int
    max_output: int = 0
    turn_id: str | None = None
    labels: dict[str, str] = {}


class PromptMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """is_hidden: whoever added it shows it to nobody; who asks what was sent is told only that something was."""

    role: Role
    parts: Parts
    is_hidden: bool = False


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool a model may call. parameters: JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


class Prompt(msgspec.Struct, frozen=True):
    """What will be sent upstream, root to tip; hooks add to it and never silently drop.

    parameters: temperature, max_output, reasoning_effort…, by their common names. fields: what the sender handed to
    plugins, by plugin name, as raw JSON. sources: passages to quote, the best first; the core numbers them.
    """

    messages: tuple[PromptMessage, ...]
    model: Model
    account: Account
    conversation_id: str = ""
    turn_id: str = ""
    tools: tuple[ToolSpec, ...] = ()
    parameters: dict[str, Any] = {}
    labels: dict[str, str] = {}
    fields: dict[str, msgspec.Raw] = {}
    sources: tuple[Source, ...] = ()


class ChatRequest(msgspec.Struct, frozen=True):
    """One request to one channel; `model` is the name the upstream knows. max_output 0: the upstream's default."""

    model: str
    messages: tuple[PromptMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_output: int = 0
    stream: bool = True
    parameters: dict[str, Any] = {}


class UsageReport(msgspec.Struct, frozen=True):
    """The upstream's own count, meters made disjoint. The last one of a call wins."""

    usage: Usage


class Finish(msgspec.Struct, frozen=True):
    """The upstream said it is done. reason: stop | length | tool_calls | content. A call without one was cut."""

    reason: str


ProviderDelta = TextDelta | ReasoningDelta | ToolCallDelta | UsageReport | Finish


class EgressResponse(Protocol):
    """What came back. `chunks` yields bytes as they arrive and raises UpstreamError when a time rule breaks."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]: ...
    async def read(self, limit_bytes: int = 20_000_000) -> bytes: ...


class EgressRequest(Protocol):
    async def __aenter__(self) -> EgressResponse: ...
    async def __aexit__(self, *exc: object) -> None: ...


class Egress(Protocol):
    """The only way out. profile `channel`: a URL an admin or the file set; `foreign`: anyone else's, never inward."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        profile: str = "foreign",
        first_byte_s: float = 30.0,
        gap_s: float = 30.0,
        total_s: float = 30.0,
    ) -> EgressRequest: ...


class Provider(Protocol):
    """Code that speaks a vendor's format. Errors are UpstreamError with `retryable` set; nothing else is expected.

    name: what `provider =` names in a channel. discover: channels found in the environment or on this machine, given
    the settings this plugin declared. list_models: what the upstream tells of its models; may raise UpstreamError.
    chat: deltas as they arrive, ended by Finish; returning without one means the answer was cut. Closing the
    iterator closes the upstream connection.
    """

    name: str

    async def discover(self, http: Egress) -> list[Channel]: ...
    async def list_models(self, channel: Channel, http: Egress) -> list[Model]: ...
    def chat(self, request: ChatRequest, channel: Channel, http: Egress) -> AsyncIterator[ProviderDelta]: ...


class ChannelOffer(msgspec.Struct, frozen=True):
    """A service a person may connect by pasting a key: what the first page and the console list.

    base_url '': the person must give the address. needs_key: an empty key is refused before anything is asked.
    """

    provider: str
    title: str
    base_url: str = ""
    needs_key: bool = True


class Setting(msgspec.Struct, frozen=True):
    """A setting of a plugin: `[plugins.<plugin>] name = …` in the file, or the environment variable `env`.

    kind: text | number | boolean | secret; a list of texts in the file is one text, a line each. A secret is never
    shown, only whether it is set. is_live: the plugin looks it up in `ctx.settings` whenever it needs it, so that an
    admin may change it in the console while neither file nor environment says it. least, most: of a number. choices:
    all that a text may be.
    """

    name: str
    help: str
    kind: str = "text"
    default: str = ""
    env: str = ""
    is_live: bool = False
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()


class Engine(msgspec.Struct, frozen=True):
    """A database that CHATSERVER_DATABASE_URL may name. schemes: what such a URL begins with, as `postgresql`.

    open: given the URL and the plugin's settings, an open `chatserver.Database`; runs no migration. Raises SetupError
    with a sentence that never holds the URL's password. name: the `engine` of what is opened.
    """

    name: str
    schemes: tuple[str, ...]
    open: Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Migration(msgspec.Struct, frozen=True):
    """One step of a schema: named, ordered, never edited once released.

    sql: statements in the subset both engines share, with the placeholders {bytes} and {identity}.
    engine: where alone it runs, in that engine's own SQL; what it makes must be worked out from the rest, because
    copies and backups leave it out. extension: of that engine, made before; where there is none to be had the step
    waits, and the plugin does without.
    """

    name: str
    sql: tuple[str, ...]
    engine: str = ""
    extension: str = ""


_PREFIX = re.compile(r"(?:/[a-z][a-z0-9-]*)?")


class Route(msgspec.Struct, frozen=True):
    """A plugin's HTTP route, mounted below `/x/<plugin>`. A path may hold `{places}`, each one segment.

    app: raw ASGI, asked for anybody. page: a page in the house's frame, for who is signed in and has `permission`.
    api: JSON or content for scripts and programs, for who is signed in or sends a key, and has `permission`.
    public_page: a page for anybody, at the address `prefix` (as `/status`), which is then this plugin's alone; a path
    goes on below it. One of the four. is_light: a change that admins alone may make, and of so little consequence that
    nobody is asked to sign in again for it. takes_files: its form may bring files (`enctype="multipart/form-data"`, the
    token before the first of them), which are away when the request ends.
    """

    path: str
    app: Callable[..., Awaitable[None]] | None = None
    methods: tuple[str, ...] = ("GET",)
    page: Callable[[PageVisit], Awaitable[PageAnswer]] | None = None
    permission: str = "chat.use"
    public_page: Callable[[PublicVisit], Awaitable[PageAnswer]] | None = None
    prefix: str = ""
    api: Callable[[ApiVisit], Awaitable[ApiAnswer]] | None = None
    is_light: bool = False
    takes_files: bool = False

    def __post_init__(self) -> None:
        if [self.app, self.page, self.public_page, self.api].count(None) != 3:
            raise ValueError(f"the route {self.path} wants one of an app, a page and an api")
        if bool(self.prefix) != (self.public_page is not None) or not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"the route {self.path} wants a prefix like /status with a public page, and else none")
        if self.takes_files and (self.page is None or "POST" not in self.methods):
            raise ValueError(f"the route {self.path} takes files, which only the form of a page brings")
        if self.public_page is not None and self.methods != ("GET",):
            raise ValueError(f"the route {self.path} is for anybody, and can only be read")


class BlobStore(Protocol):
    """Where content lies under its SHA-256 in hex. Errors are StorageFull and Unavailable; nothing else is expected.

    put: whole and lasting when it returns, or not there at all; BadInput when the chunks are not that content; content
    that is there already is not written again. read: in chunks, from `start` up to before `end`; NotFound when it is
    not there; closing it gives up the rest. size_of: None when it is not there. delete: what is not there may be
    deleted. list: in any order.
    """

    async def put(self, sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None: ...
    def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]: ...
    async def size_of(self, sha256: str) -> int | None: ...
    async def delete(self, sha256: str) -> None: ...
    def list(self) -> AsyncIterator[BlobEntry]: ...
    async def close(self) -> None: ...


class BlobKind(msgspec.Struct, frozen=True):
    """A kind of blob store that CHATSERVER_BLOB_URL may name. schemes: what such a URL begins with, as `s3`.

    open: given the URL, the plugin's settings and its secrets by name, from the running event loop. Raises SetupError
    with a sentence that holds no secret.
    """

    name: str
    schemes: tuple[str, ...]
    open: Callable[[str, Mapping[str, Any], Callable[[str], str | None]], Awaitable[BlobStore]]


class SignInAttempt(msgspec.Struct, frozen=True):
    """What someone typed into the sign-in form; field names are the backend's own."""

    fields: dict[str, str]
    address: str
    user_agent: str = ""


class AuthBackend(Protocol):
    """A way to sign in. sign_in: the account's id, a Refusal to show, or None when the fields are not for it.

    enroll: keep a secret for an account (account creation, first admin); a Refusal says why it will not do. forget: the
    account is being deleted, keep nothing of it; may be called again.
    """

    name: str

    async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None: ...
    async def enroll(self, account_id: str, secret: str) -> Refusal | None: ...
    async def forget(self, account_id: str) -> None: ...


class JobSpec(msgspec.Struct, frozen=True):
    """A kind of leased work. run is called with the payload, at least once. every_s 0: only when queued."""

    kind: str
    run: Callable[[dict[str, Any]], Awaitable[None]]
    every_s: float = 0
    lease_s: float = 60


class NavItem(msgspec.Struct, frozen=True):
    label: str
    href: str
    icon: str = ""


class SlotContext(msgspec.Struct, frozen=True):
    """Where a slot is rendered: who looks, at which conversation and message ('' when none), in which language.

    fields: what plugins were handed with the last question of the branch shown, by plugin name, as raw JSON; on the
    page of a new chat, what its address hands them.
    """

    slot: str
    account: Account
    conversation_id: str = ""
    message_id: str = ""
    language: str = "en"
    fields: dict[str, msgspec.Raw] = {}


class ThemeSpec(msgspec.Struct, frozen=True):
    """A look. stylesheets and preload: file names below `static_dir`; `name` is what an account picks. Several style
    sheets are handed out joined, in their order, as `all.css`.

    sheets: further style sheets by the part of the house they dress, linked only there: `pages` (beside the chat, and
    the door), `panel`. base: a theme whose style sheets come before this one's. templates_dir: a folder whose `blocks/`
    hold this theme's own of the named blocks, and the files of `replaces`: a whole template by its name, with the
    version of the core it is a copy of; another version refuses it at start.
    """

    name: str
    title: str
    static_dir: str
    stylesheets: tuple[str, ...]
    preload: tuple[str, ...] = ()
    sheets: dict[str, tuple[str, ...]] = {}
    base: str = ""
    templates_dir: str = ""
    replaces: dict[str, str] = {}


class ModelUse(msgspec.Struct, frozen=True):
    """What rank_channels is told of the request it ranks for."""

    account: Account
    model: str
    origin: Origin
    kind: CallKind
    call_id: str
    labels: dict[str, str] = {}


Candidates = tuple[Candidate, ...]
PermissionQuestion = tuple[Actor, str]
