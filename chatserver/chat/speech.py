"""Speech as metered calls: who may use which voice, and what is charged when something was heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType

import msgspec

from chatserver.chat.call_rows import CallRows
from chatserver.chat.calling import Calling
from chatserver.chat.direct import Shuttable
from chatserver.chat.metered import MeteredCall
from chatserver.chat.meters import CallReport, Meters
from chatserver.chat.permissions import Permissions
from chatserver.chat.refusals import refused
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.calls import Call, CallKind, CallState, Usage, estimate_tokens
from chatserver.domain.extend import Refusal
from chatserver.domain.voices import (
    DEFAULT_VOICE,
    AudioFormat,
    ListenRequest,
    Readying,
    Speaker,
    SpeechRequest,
    Transcriber,
    Transcript,
    Voice,
)
from chatserver.errors import BadInput, ChatserverError, NotFound, Refused
from chatserver.plugins import Plugins
from chatserver.store.database import Database


class OfferedVoice(msgspec.Struct, frozen=True):
    """A voice as one account sees it. is_mine: whether it may be used."""

    voice: Voice
    is_mine: bool


class Speech:
    """One text being spoken. Iterate `pieces()` once, within `async with`: leaving ends and meters it, however far it
    came. voice, format: what was chosen."""

    def __init__(
        self, actor: Actor, metered: MeteredCall, speaker: Speaker, ask: SpeechRequest, watched: set[Shuttable]
    ) -> None:
        self.actor = actor
        self.voice = ask.voice
        self.format = ask.format
        self._metered = metered
        self._speaker = speaker
        self._ask = ask
        self._watched = watched
        self._task: asyncio.Task[object] | None = None
        self._is_shut = False

    def shut(self) -> None:
        """The credential it was asked with opens nothing any more: who listens is told so, the voice is cut."""
        if self._task is not None and not self._is_shut:
            self._is_shut = True
            self._task.cancel()

    async def __aenter__(self) -> Speech:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metered.end("stopped", Usage())

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The sound, as it is made; what is heard first waits until the call is kept. Raises UpstreamError and what
        the database says."""
        usage = Usage()
        state: CallState = "stopped"
        self._task = asyncio.current_task()
        self._watched.add(self)
        try:
            async with aclosing(self._speaker.speak(self._ask)) as source:
                async for piece in source:
                    if not usage.calls:
                        await self._metered.begun()
                        usage = Usage(characters=len(self._ask.text), calls=1)
                    yield piece
            state = "done"
        except asyncio.CancelledError:
            if not self._is_shut or self._task is None:
                raise
            self._task.uncancel()
            shut = Refused("This key or account was shut while the answer was written.", code="shut")
            self._metered.fail(shut)
            raise shut from None
        except ChatserverError as error:
            state = "interrupted" if usage.calls else "failed"
            self._metered.fail(error)
            raise
        finally:
            self._watched.discard(self)
            self._metered.end(state, usage)


class Speeches:
    """`ctx.speech`: voices and transcribers of all plugins, through one door."""

    def __init__(
        self,
        db: Database,
        plugins: Plugins,
        calling: Calling,
        meters: Meters,
        permissions: Permissions,
        node_id: str,
        wake: Callable[[], None],
        watched: set[Shuttable],
    ) -> None:
        """wake: called when there is something to tell plugins. watched: looked through for credentials that were
        shut."""
        self._watched = watched
        self._plugins = plugins
        self._calling = calling
        self._meters = meters
        self._permissions = permissions
        self._node_id = node_id
        self._rows = CallRows(db, wake)

    async def voices(self, actor: Actor) -> list[OfferedVoice]:
        """All there are, the site's default first; also those of other groups, which may not be used."""
        return [OfferedVoice(voice, voice.is_for(actor.account.groups)) for _, voice in await self._voices()]

    async def transcribers(self) -> list[Transcriber]:
        """Those that can be asked now, the site's default first."""
        ready: list[Transcriber] = []
        for plugin, one in self._plugins.registered("register_transcribers"):
            try:
                if not isinstance(one, Readying) or await one.is_ready():
                    ready.append(one)
            except Exception as error:  # a transcriber is a plugin's: the others can still be asked
                self._plugins.report_fault(plugin, "is_ready", error)
        return ready

    async def speak(
        self,
        actor: Actor,
        text: str,
        *,
        voice_id: str = DEFAULT_VOICE,
        formats: tuple[AudioFormat, ...] = (),
        speed: float = 1.0,
        language: str = "",
    ) -> Speech:
        """Admit a call and begin it. formats: those that will do, the best first; none: the voice's own first.

        Raises NotFound `no_voice`, Refused `voice_not_allowed`, BadInput for a format the voice cannot be heard in, and
        what an admission says.
        """
        await self._permissions.require(actor, "models.use")
        speaker, voice = await self._find(actor, voice_id)
        wanted = formats or voice.formats
        chosen = next((one for one in wanted if one in voice.formats), None)
        if chosen is None:
            raise BadInput(
                "The voice %(voice)s cannot be heard as %(format)s. Ask for one of: %(formats)s.",
                code="format_not_offered",
                values={"voice": voice.title, "format": wanted[0], "formats": ", ".join(voice.formats)},
            )
        call = await self._admit(actor, "speech", voice.id, estimate_tokens(text))
        ask = SpeechRequest(voice, text, chosen, speed, language)
        metered = MeteredCall(call, self._rows.begin(call), speaker.name, self.end)
        return Speech(actor, metered, speaker, ask, self._watched)

    async def transcribe(self, actor: Actor, request: ListenRequest, *, name: str = "") -> Transcript:
        """What a recording says, metered by its length. name: a transcriber's, '' for the first.

        Raises NotFound `no_transcriber`, BadInput for what is no recording, UpstreamError.
        """
        await self._permissions.require(actor, "models.use")
        listeners = await self.transcribers()
        listener = next((one for one in listeners if one.name == name), listeners[0] if listeners else None)
        if listener is None:
            raise NotFound(
                "Nobody here writes down what was said. An admin can install a plugin that does.", code="no_transcriber"
            )
        call = await self._admit(actor, "transcription", listener.name, 0)
        metered = MeteredCall(call, self._rows.begin(call), listener.name, self.end)
        usage = Usage()
        state: CallState = "stopped"
        try:
            heard = await listener.transcribe(request)
            await metered.begun()
            usage, state = Usage(seconds_ms=round(heard.seconds * 1000), calls=1), "done"
            return heard
        except ChatserverError as error:
            state = "failed"
            metered.fail(error)
            raise
        finally:
            metered.end(state, usage)

    async def _voices(self) -> list[tuple[Speaker, Voice]]:
        found: list[tuple[Speaker, Voice]] = []
        for plugin, speaker in self._plugins.registered("register_voices"):
            try:
                found += [(speaker, voice) for voice in await speaker.list_voices()]
            except Exception as error:  # a speaker is a plugin's: the voices of the others are still there
                self._plugins.report_fault(plugin, "list_voices", error)
        return sorted(found, key=lambda one: (one[1].order, one[1].id))

    async def _find(self, actor: Actor, voice_id: str) -> tuple[Speaker, Voice]:
        there = await self._voices()
        if not there:
            raise NotFound("No voice is installed here. An admin can add one.", code="no_voice")
        groups = actor.account.groups
        if voice_id == DEFAULT_VOICE:
            there = [one for one in there if one[1].is_for(groups)] or there
        else:
            there = [one for one in there if one[1].id == voice_id]
        if not there:
            raise NotFound("There is no voice %(voice)s here.", code="unknown_voice", values={"voice": voice_id[:100]})
        speaker, voice = there[0]
        if not voice.is_for(groups):
            raise Refused(
                "The voice %(voice)s is not for your account. Pick another one.",
                code="voice_not_allowed",
                values={"voice": voice.title},
            )
        return speaker, voice

    async def _admit(self, actor: Actor, kind: CallKind, model: str, input_tokens: int) -> Call:
        call = Call(new_id(), actor.account_id, kind, actor.origin, model, "running", now_us(), node=self._node_id)
        admitted = await self._calling.admit(call, actor.account, input_tokens)
        if isinstance(admitted, Refusal):
            raise refused(admitted)
        return admitted[0]

    def end(self, report: CallReport, kept: asyncio.Future[None]) -> None:
        """Write how a call went, if it was ever kept."""
        if kept.done():
            self._write(report, kept)
        else:
            kept.add_done_callback(lambda done: self._write(report, done))
        self._meters.call_ended(report)

    def _write(self, report: CallReport, kept: asyncio.Future[None]) -> None:
        if not kept.cancelled() and kept.exception() is None:
            self._rows.end(report)

    async def stop(self) -> None:
        """Wait until what was said so far is written."""
        await self._rows.settle()
