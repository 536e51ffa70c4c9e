"""Take foreign trees into an account: each whole or not at all, each once however often it is brought."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from chatserver.chat.files import Files
from chatserver.chat.import_files import ImportFile
from chatserver.chat.placing import Placed, place
from chatserver.clock import now_us, write_id
from chatserver.domain.access import Actor
from chatserver.domain.files import file_ids, with_files, with_names
from chatserver.domain.imported import ImportedConversation
from chatserver.domain.messages import Message, text_of
from chatserver.domain.tree import leaves_of
from chatserver.errors import BadInput, ChatserverError, LimitReached, StorageFull, Unavailable
from chatserver.store import branches as branch_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import deletions as deletion_rows
from chatserver.store import feedback as feedback_rows
from chatserver.store import files as file_rows
from chatserver.store import folders as folder_rows
from chatserver.store import imports as import_rows
from chatserver.store import messages as message_rows
from chatserver.store import search
from chatserver.store.batches import runs_of
from chatserver.store.database import Database, Tx
from chatserver.store.deletions import DeletionRow

MESSAGES_AT_ONCE = 500
"""Of one transaction: about a tenth of a second, so that a server beside us is not kept from writing."""
MAX_ATTEMPTS = 8
WAITS_S = (0.2, 1.0, 3.0, 10.0)
"""Between tries while the database is not to be had; each try waits by itself as well."""
R = TypeVar("R")


class ImportReport(msgspec.Struct):
    """What became of what was brought. there: it was here already. grown: it was, and got more messages.
    left_deleted: messages that were here and were deleted since. notes: what was not taken, how often."""

    new: int = 0
    grown: int = 0
    there: int = 0
    messages: int = 0
    left_deleted: int = 0
    files: int = 0
    notes: Counter[str] = msgspec.field(default_factory=Counter)


class Survey(msgspec.Struct):
    """What a whole and sound file holds. emails: of the accounts it was exported from, if it says."""

    emails: set[str] = msgspec.field(default_factory=set)
    conversations: int = 0
    messages: int = 0


def survey(file: ImportFile) -> Survey:
    """Read all of a file and write nothing. Raises BadInput where it is damaged, with the line or the conversation."""
    found = Survey()
    now = now_us()
    for email, conversation in file.conversations():
        place(conversation, "", now)
        if email:
            found.emails.add(email)
        found.conversations += 1
        found.messages += len(conversation.messages)
    return found


async def take_file(
    db: Database, file: ImportFile, actors: Mapping[str, Actor], files: Files | None = None
) -> dict[str, ImportReport]:
    """Take in what a surveyed file holds of the accounts named; reports by their addresses. '' stands for conversations
    of which the file says no account. When it stops half-way, what was taken is whole, and the next run goes on.
    files: takes the files of messages; without it they stay names."""
    imports = {email: Imports(db, actor, files) for email, actor in actors.items()}
    with tempfile.TemporaryDirectory(prefix="chatserver-import-") as folder:
        await take_trees(file.conversations(Path(folder) if files is not None else None), imports)
    return {email: one.report for email, one in imports.items()}


async def take_trees(trees: Iterator[tuple[str, ImportedConversation]], imports: Mapping[str, Imports]) -> None:
    """All trees into the import of the address each comes with; who is not there is left out. An error says how much
    was taken before it."""
    try:
        while (found := await asyncio.to_thread(next, trees, None)) is not None:
            email, conversation = found
            if email in imports:
                await imports[email].take(conversation)
        for one in imports.values():
            await one.flush()
    except StorageFull as error:
        taken = sum(one.report.new + one.report.grown for one in imports.values())
        raise StorageFull(
            "The server's disk is full. Of this file %(count)s conversations were taken before it was, each whole. Free"
            " some space there, then bring the same file again: it goes on from there.",
            values={"count": taken},
        ) from error
    except ChatserverError as error:
        taken = sum(one.report.new + one.report.grown for one in imports.values())
        error.message += f" {taken} conversations were taken before that; import the file again to go on."
        error.sentence, error.values = error.message, {}
        raise
    finally:
        for one in imports.values():
            await one.settle()


class _Clash(Exception):
    """An id we took for free belongs to a message."""


class _Seat(msgspec.Struct):
    """Where a tree goes. missing: its messages that are to be written, parents first. hidden: it is here in part,
    from an import that did not end."""

    placed: Placed
    is_new: bool
    is_hidden: bool
    missing: tuple[Message, ...]
    left_deleted: int


class Imports:
    """One import into one account; report grows while it runs. last_id: what the tree last written became."""

    def __init__(self, db: Database, actor: Actor, files: Files | None = None) -> None:
        self._db = db
        self._actor = actor
        self._files = files
        self._now = now_us()
        self._waiting: list[ImportedConversation] = []
        self._waiting_messages = 0
        self._is_long = False
        self.report = ImportReport()
        self.last_id = ""

    async def take(self, source: ImportedConversation) -> None:
        """Hand over one tree. Small ones are written several at a time; flush() writes the rest."""
        self.report.notes.update(source.notes)
        if self._files is not None:
            source = await self._with_files(source, self._files)
        size = len(source.messages)
        if size > MESSAGES_AT_ONCE:
            await self._take_large(source)
            return
        if self._waiting_messages + size > MESSAGES_AT_ONCE:
            await self.flush()
        self._waiting.append(source)
        self._waiting_messages += size + 1

    async def _with_files(self, source: ImportedConversation, files: Files) -> ImportedConversation:
        """The same tree with the ids its files have here. Files come first: a message then finds them there."""
        for one in source.files:
            try:
                if await files.bring_back(self._actor, one.id, one.name, Path(one.path)):
                    self.report.files += 1
            except (BadInput, LimitReached) as error:
                self.report.notes[f"a file was not taken. {error.message}"] += 1
        wanted = {id_ for message in source.messages for id_ in file_ids(message.parts)}
        if not wanted:
            return source
        names = await files.own_ids(self._actor, wanted)
        held = await files.held(self._actor, names.values())
        messages = tuple(
            msgspec.structs.replace(message, parts=with_files(with_names(message.parts, names), held))
            for message in source.messages
        )
        return msgspec.structs.replace(source, messages=messages)

    async def flush(self) -> None:
        """Write what waits, in one transaction."""
        sources, self._waiting, self._waiting_messages = self._waiting, [], 0
        if not sources:
            return
        if self.report.messages and not self._is_long:
            self._is_long = True
            await self._store(search.expect_many)
        try:
            seats = await self._store(lambda tx: self._write_whole(tx, sources, is_sure=True))
        except _Clash:
            seats = await self._store(lambda tx: self._write_whole(tx, sources, is_sure=False))
        for seat in seats:
            self._count(seat)

    async def settle(self) -> None:
        """After the last flush, or what came instead of it."""
        if self._is_long:
            with contextlib.suppress(ChatserverError):  # it was a favour to ourselves
                await self._db.write(search.settle)

    async def _store(self, function: Callable[[Tx], R]) -> R:
        """Write; when the database cannot be had now, beside a busy server or while it restarts, wait and ask again."""
        for wait_s in WAITS_S:
            try:
                return await self._db.write(function)
            except Unavailable:
                await asyncio.sleep(wait_s)
        return await self._db.write(function)

    def _write_whole(self, tx: Tx, sources: Iterable[ImportedConversation], *, is_sure: bool) -> list[_Seat]:
        seats: dict[str, _Seat] = {}
        waiting: list[tuple[_Seat, Message]] = []
        done: list[_Seat] = []
        for source in sources:
            seat = self._find_seat(tx, source, is_sure=is_sure)
            if seat.placed.conversation.id in seats:  # the file has it twice: the second sees the first
                self._write(tx, waiting)
                waiting = []
                seat = self._find_seat(tx, source, is_sure=is_sure)
            seats[seat.placed.conversation.id] = seat
            if seat.is_new:
                self._open(tx, seat, deletion_id=None)
            waiting += [(seat, message) for message in seat.missing]
            done.append(seat)
        self._write(tx, waiting)
        for seat in done:
            self._close(tx, seat)
        return done

    async def _take_large(self, source: ImportedConversation) -> None:
        """In several transactions; until the last one a new conversation is hidden, as a deleted one is. One that is
        never completed is erased like those, after its time, and found again before that."""
        seat = await self._db.read(lambda tx: self._find_seat(tx, source))
        mark = _mark(seat.placed.conversation.id)

        def begin(tx: Tx) -> None:
            if import_rows.standing_of(tx, seat.placed.conversation.id) is None:
                self._open(tx, seat, deletion_id=mark)

        if seat.is_new:
            await self._store(begin)
        for start in range(0, len(seat.missing), MESSAGES_AT_ONCE):
            part = seat.missing[start : start + MESSAGES_AT_ONCE]
            await self._store(partial(self._write_part, seat=seat, messages=part))

        def end(tx: Tx) -> None:
            self._close(tx, seat)
            if seat.is_new or seat.is_hidden:
                import_rows.show(tx, seat.placed.conversation.id, mark)

        await self._store(end)
        self._count(seat)

    def _find_seat(self, tx: Tx, source: ImportedConversation, *, is_sure: bool = False) -> _Seat:
        """The first attempt's ids that are free, or that stand for this very tree already. is_sure: that no message of
        another conversation has one of them is not asked; writing finds out."""
        for attempt in range(MAX_ATTEMPTS):
            placed = place(source, self._actor.account_id, self._now, attempt)
            standing = import_rows.standing_of(tx, placed.conversation.id)
            is_hidden = False
            here: dict[str, bool] = {}
            if standing is not None:
                is_hidden = standing.deletion_id == _mark(placed.conversation.id)
                if standing.owner_id != self._actor.account_id or (standing.deletion_id is not None and not is_hidden):
                    continue
                here = import_rows.messages_in(tx, placed.conversation.id)
            if not is_sure and any(import_rows.is_message(tx, m.id) for m in placed.messages if m.id not in here):
                continue
            missing, left_deleted = _missing(placed, here)
            return _Seat(placed, standing is None, is_hidden, missing, left_deleted)
        raise BadInput(
            "The conversation %(id)s was imported and deleted %(count)s times.",
            values={"id": source.id[:80], "count": MAX_ATTEMPTS},
        )

    def _open(self, tx: Tx, seat: _Seat, deletion_id: str | None) -> None:
        conversation = seat.placed.conversation
        import_rows.insert_conversation(tx, conversation, deletion_id)
        if seat.placed.folder:
            folder_rows.lock_folders(tx, self._actor)
            folder_id = folder_rows.folder_named(tx, conversation.owner_id, seat.placed.folder, self._now)
            folder_rows.set_folder(tx, self._actor, conversation.id, folder_id)
        if conversation.tags:
            folder_rows.set_tags(tx, self._actor, conversation.id, conversation.tags)
        if conversation.title:
            search.index_title(
                tx, owner_id=conversation.owner_id, conversation_id=conversation.id, title=conversation.title
            )
        if deletion_id is not None:
            import_rows.set_shape(tx, conversation.id, tip_id=None, branches=0)
            row = DeletionRow(deletion_id, conversation.id, None, None, len(seat.missing), self._now)
            deletion_rows.insert_deletion(tx, row)

    def _write_part(self, tx: Tx, seat: _Seat, messages: tuple[Message, ...]) -> None:
        here = import_rows.messages_in(tx, seat.placed.conversation.id)  # another import of the file may be as far
        self._write(tx, [(seat, message) for message in messages if message.id not in here])
        if seat.is_new or seat.is_hidden:
            import_rows.set_shape(tx, seat.placed.conversation.id, tip_id=messages[-1].id, branches=1)

    def _write(self, tx: Tx, rows: list[tuple[_Seat, Message]]) -> None:
        """Messages, parents first, and what they are found by. Raises _Clash when an id is taken."""
        for run in runs_of(rows):
            if import_rows.insert_messages(tx, [message for _, message in run]) < len(run):
                raise _Clash
            for seat, message in run:
                if message.cleared_after:
                    at = seat.placed.cleared_at[message.id]
                    import_rows.set_marker(tx, message.conversation_id, message.id, at)
                if name := seat.placed.branches.get(message.id):
                    branch_rows.set_name(tx, message.conversation_id, message.id, name, self._now)
                if message.id in seat.placed.feedback:
                    said = seat.placed.feedback[message.id]
                    feedback_rows.set_feedback(tx, message.conversation_id, message.id, said)
        owner_id = self._actor.account_id
        search.index_new_messages(
            tx,
            [
                search.NewText(owner_id, one.conversation_id, one.id, text)
                for _, one in rows
                if (text := text_of(one.parts))
            ],
        )

    def _close(self, tx: Tx, seat: _Seat) -> None:
        """Tip and branches as they are with what came. A person's tip in a conversation that was here stays."""
        conversation = seat.placed.conversation
        if seat.is_new or seat.is_hidden:
            import_rows.set_shape(tx, conversation.id, tip_id=conversation.tip_id, branches=conversation.branches)
        elif seat.missing:
            branches = len(leaves_of(message_rows.edges_of(tx, conversation.id)))
            conversation_rows.set_branches(tx, conversation.id, branches)
            import_rows.raise_updated(tx, conversation.id, conversation.updated_at)
        if not seat.is_new and self._files is not None:  # a file may have come that was not there the last time
            written = {message.id for message in seat.missing}
            for message in seat.placed.messages:
                if message.id not in written:
                    file_rows.name_files(tx, message.id, message.parts)

    def _count(self, seat: _Seat) -> None:
        report = self.report
        self.last_id = seat.placed.conversation.id
        if seat.is_new or seat.is_hidden:
            report.new += 1
        elif seat.missing:
            report.grown += 1
        else:
            report.there += 1
        report.messages += len(seat.missing)
        report.left_deleted += seat.left_deleted


def _missing(placed: Placed, here: dict[str, bool]) -> tuple[tuple[Message, ...], int]:
    """What is to be written, and how many messages stay away because they, or one above them, were deleted here."""
    if not here:
        return placed.messages, 0
    gone: set[str | None] = set()
    missing = []
    for message in placed.messages:
        if here.get(message.id) is False or message.parent_id in gone:
            gone.add(message.id)
        elif message.id not in here:
            missing.append(message)
    return tuple(missing), len(gone)


def _mark(conversation_id: str) -> str:
    """The id of the deletion that hides a conversation while it comes in; the same for every try."""
    digest = hashlib.blake2b(b"import\x00" + conversation_id.encode(), digest_size=16).digest()
    return write_id(int.from_bytes(digest))
