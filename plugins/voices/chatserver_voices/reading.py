"""The button on each message, the pieces it asks for, and the voice each person chose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from chatserver import (
    MEDIA_TYPES,
    Actor,
    ApiAnswer,
    ApiVisit,
    AudioFormat,
    BadInput,
    Context,
    NotFound,
    Route,
    SlotContext,
)
from chatserver import gettext as _
from chatserver_voices.clips import Clips, place_of
from chatserver_voices.spoken import SpokenPassage, passages_of

SPEEDS = (0.75, 1.0, 1.25, 1.5, 2.0)
DEFAULT = "default"
LOOKED_AT_ONCE = 200
IN_BROWSERS: tuple[AudioFormat, ...] = ("mp3", "wav", "aac", "flac", "opus")


class Choice(msgspec.Struct, frozen=True):
    """How somebody wants to be read to."""

    voice: str = DEFAULT
    speed: float = 1.0


def usable(choice: Choice, mine: Sequence[str]) -> Choice:
    """The choice, with the site's default voice for one that is gone, or not for this person any more."""
    return choice if choice.voice in mine else msgspec.structs.replace(choice, voice=DEFAULT)


class _Row(msgspec.Struct, frozen=True):
    voice: str
    speed: str


class Asked(msgspec.Struct, frozen=True):
    """Which passage of which message, from 0; voice and speed as the person chose where nothing is said."""

    message_id: str
    passage: int = 0
    voice: str = ""
    speed: float = 0.0


class Told(msgspec.Struct, frozen=True):
    """The passages of a message, and how they will be read."""

    passages: list[SpokenPassage]
    voice: str
    speed: float


def _accounts_after(tx: Any, after: str) -> list[str]:
    """Of whom anything is kept, some at a time."""
    sql = (
        "SELECT account_id FROM voices_choices WHERE account_id > :after"
        " UNION SELECT account_id FROM voices_clips WHERE account_id > :after ORDER BY account_id LIMIT :most"
    )
    return list(tx.all(str, sql, after=after, most=LOOKED_AT_ONCE))


class Reading:
    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [
            Route("/passages/{message}", api=self.tell),
            Route("/speak", api=self.speak, methods=("POST",)),
        ]

    async def render(self, context: SlotContext) -> str | None:
        if context.slot == "message.actions":
            return str(self._ctx.pages.render("button.html"))
        if context.slot == "settings.page":
            return str(self._ctx.pages.render("card.html"))
        return None

    async def choice_of(self, account_id: str) -> Choice:
        row = await self._ctx.db.read(
            lambda tx: tx.one(
                _Row, "SELECT voice, speed FROM voices_choices WHERE account_id = :account", account=account_id
            )
        )
        return Choice(row.voice, float(row.speed)) if row else Choice()

    async def choose(self, account_id: str, choice: Choice) -> None:
        await self._ctx.db.write(
            lambda tx: tx.run(
                "INSERT INTO voices_choices (account_id, voice, speed) VALUES (:account, :voice, :speed)"
                " ON CONFLICT (account_id) DO UPDATE SET voice = excluded.voice, speed = excluded.speed",
                account=account_id,
                voice=choice.voice,
                speed=f"{choice.speed:.2f}",
            )
        )

    async def forget(self, account_id: str) -> None:
        """All of an account that is gone."""
        await self._clips.forget(account_id)
        await self._ctx.db.write(
            lambda tx: tx.run("DELETE FROM voices_choices WHERE account_id = :account", account=account_id)
        )

    async def forget_old(self, payload: dict[str, Any]) -> None:
        """What nobody heard for a month, and all of accounts that went while this plugin was away."""
        await self._clips.forget_old(payload)
        after = ""
        while page := await self._ctx.db.read(partial(_accounts_after, after=after)):
            for after in page:
                if await self._ctx.accounts.by_id(after) is None:
                    await self.forget(after)

    async def tell(self, visit: ApiVisit) -> ApiAnswer:
        """GET: the passages of a message of one's own."""
        passages = await self._passages(visit.actor, visit.path["message"])
        choice = await self.choice_of(visit.actor.account_id)
        return ApiAnswer(Told(passages, choice.voice, choice.speed))

    async def speak(self, visit: ApiVisit) -> ApiAnswer:
        """POST {message_id, passage, voice?, speed?}: the sound of one passage. The second time nobody is asked."""
        actor, asked = visit.actor, visit.read(Asked)
        passages = await self._passages(actor, asked.message_id)
        if not 0 <= asked.passage < len(passages):
            raise NotFound("There is no such passage in this message.")
        choice = await self.choice_of(actor.account_id)
        mine = [one.voice.id for one in await self._ctx.speech.voices(actor) if one.is_mine]
        voice, speed = asked.voice or usable(choice, mine).voice, asked.speed or choice.speed
        if voice == DEFAULT and mine:
            voice = mine[0]  # what is kept is of a voice; the default may be another one tomorrow
        if not 0.25 <= speed <= 4.0:
            raise BadInput("The speed is between 0.25 and 4.", code="bad_speed", status=422)
        passage = passages[asked.passage]
        place = place_of(passage.text, voice, speed, passage.language)
        if voice in mine and (kept := await self._clips.find(actor.account_id, place)) is not None:
            return ApiAnswer(body=kept[1], media_type=kept[0].media_type)
        speech = await self._ctx.speech.speak(
            actor, passage.text, voice_id=voice, formats=IN_BROWSERS, speed=speed, language=passage.language
        )
        async with speech:
            sound = b"".join([piece async for piece in speech.pieces()])
        media_type = MEDIA_TYPES[speech.format]
        await self._clips.keep(actor.account_id, place, sound, media_type)
        return ApiAnswer(body=sound, media_type=media_type)

    async def _passages(self, actor: Actor, message_id: str) -> list[SpokenPassage]:
        passages = passages_of(await self._ctx.conversations.text(actor, message_id))
        if not passages:
            raise BadInput(_("There is nothing to read aloud in this message."), code="nothing_to_say", status=422)
        return passages
