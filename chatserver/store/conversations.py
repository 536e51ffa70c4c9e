"""Conversations as rows: made, listed, renamed, hidden; each function takes the Actor and sees only what is theirs."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, ConversationLine, TitleSource
from chatserver.domain.filing import ListFilter
from chatserver.domain.tuning import Tuning, decode_parameters
from chatserver.store.database import Tx

decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode

_COLUMNS = (
    "c.id, c.owner_id, c.title, c.title_source, c.tip_id, c.model, c.pinned, c.archived, c.created_at, c.updated_at,"
    " c.branches, c.temporary, c.system_prompt, c.parameters, c.folder_id, c.tags"
)
TEMPORARY_US = 24 * 3_600 * 1_000_000
"""A temporary conversation is erased this long after its last message, at the latest."""


class _Row(msgspec.Struct, frozen=True):
    id: str
    owner_id: str
    title: str
    title_source: TitleSource
    tip_id: str | None
    model: str
    pinned: int
    archived: int
    created_at: int
    updated_at: int
    branches: int
    temporary: int
    system_prompt: str
    parameters: str
    folder_id: str
    tags: str

    def to_domain(self) -> Conversation:
        return Conversation(
            self.id,
            self.owner_id,
            self.title,
            self.title_source,
            self.tip_id,
            self.model,
            bool(self.pinned),
            bool(self.archived),
            self.created_at,
            self.updated_at,
            self.branches,
            bool(self.temporary),
            Tuning(self.system_prompt, decode_parameters(self.parameters)),
            self.folder_id,
            decode_tags(self.tags),
        )


class _LineRow(msgspec.Struct, frozen=True):
    id: str
    title: str
    tip_id: str | None
    updated_at: int
    pinned: int
    archived: int
    is_running: int
    branches: int
    folder_id: str
    tags: str


def lock_conversation(tx: Tx, conversation_id: str) -> None:
    """Whoever writes to a tree after having looked at it holds this from before the look."""
    tx.lock(f"conversation {conversation_id}")


def insert_conversation(
    tx: Tx,
    actor: Actor,
    *,
    conversation_id: str,
    title: str,
    title_source: TitleSource,
    model: str,
    now: int,
    temporary: bool = False,
) -> None:
    tx.run(
        "INSERT INTO conversations (id, owner_id, title, title_source, tip_id, model, pinned, archived, branches,"
        " created_at, updated_at, deletion_id, temporary, ends_at) VALUES (:id, :owner, :title, :source, NULL, :model,"
        " 0, 0, 0, :now, :now, NULL, :temporary, :ends_at)",
        id=conversation_id,
        owner=actor.account_id,
        title=title,
        source=title_source,
        model=model,
        now=now,
        temporary=int(temporary),
        ends_at=now + TEMPORARY_US if temporary else 0,
    )


def conversation_of(tx: Tx, actor: Actor, conversation_id: str) -> Conversation | None:
    """The actor's conversation, or None: unknown, deleted and somebody else's look the same."""
    row = tx.one(
        _Row,
        f"SELECT {_COLUMNS} FROM conversations c WHERE c.id = :id AND c.owner_id = :owner AND c.deletion_id IS NULL",
        id=conversation_id,
        owner=actor.account_id,
    )
    return row.to_domain() if row else None


def list_conversations(
    tx: Tx, actor: Actor, wanted: ListFilter, *, before: tuple[int, str] | None, limit: int
) -> list[ConversationLine]:
    """The newest first by last change. before: the (updated_at, id) of the last line of the page before."""
    where = "" if before is None else " AND (c.updated_at < :at OR (c.updated_at = :at AND c.id < :id))"
    parameters: dict[str, str | int] = {
        "owner": actor.account_id,
        "limit": limit,
        "archived": int(wanted.archived),
    }
    if before is not None:
        parameters |= {"at": before[0], "id": before[1]}
    if wanted.pinned is not None:
        where += f" AND c.pinned = {int(wanted.pinned)}"
    if wanted.folder_id is not None:
        where += " AND c.folder_id = :folder"
        parameters["folder"] = wanted.folder_id
    if wanted.tag:
        tagged = "SELECT t.conversation_id FROM conversation_tags t WHERE t.owner_id = :owner AND t.tag = :tag"
        where += f" AND c.id IN ({tagged})"
        parameters["tag"] = wanted.tag
    rows = tx.all(
        _LineRow,
        "SELECT c.id, c.title, c.tip_id, c.updated_at, c.pinned, c.archived, c.branches, c.folder_id, c.tags,"
        " CASE WHEN EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running')"
        " THEN 1 ELSE 0 END AS is_running FROM conversations c"
        " WHERE c.owner_id = :owner AND c.archived = :archived AND c.deletion_id IS NULL"
        " AND c.temporary = 0"
        f"{where} ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit",
        **parameters,
    )
    return [
        ConversationLine(
            row.id,
            row.title,
            row.tip_id,
            row.updated_at,
            bool(row.pinned),
            bool(row.archived),
            bool(row.is_running),
            row.branches,
            row.folder_id,
            decode_tags(row.tags),
        )
        for row in rows
    ]


def set_title(tx: Tx, actor: Actor, conversation_id: str, title: str) -> None:
    """A person's title: it stays."""
    tx.run(
        "UPDATE conversations SET title = :title, title_source = 'person' WHERE id = :id AND owner_id = :owner",
        title=title,
        id=conversation_id,
        owner=actor.account_id,
    )


def first_title(tx: Tx, conversation_id: str, title: str) -> None:
    """A title made from the first question, until a better one comes."""
    tx.run(
        "UPDATE conversations SET title = :title WHERE id = :id AND title_source = 'none' AND title = ''",
        title=title,
        id=conversation_id,
    )


def suggest_title(tx: Tx, conversation_id: str, owner_id: str, title: str) -> bool:
    """A model's title, taken only while nobody gave one."""
    return bool(
        tx.run(
            "UPDATE conversations SET title = :title, title_source = 'auto' WHERE id = :id AND owner_id = :owner"
            " AND title_source = 'none'",
            title=title,
            id=conversation_id,
            owner=owner_id,
        )
    )


def set_flags(tx: Tx, actor: Actor, conversation_id: str, *, pinned: bool, archived: bool) -> None:
    tx.run(
        "UPDATE conversations SET pinned = :pinned, archived = :archived WHERE id = :id AND owner_id = :owner",
        pinned=int(pinned),
        archived=int(archived),
        id=conversation_id,
        owner=actor.account_id,
    )


def move_tip(tx: Tx, actor: Actor, conversation_id: str, tip_id: str | None, now: int) -> None:
    """Point the conversation at a tip, and remember that it was looked at."""
    tx.queue(
        "UPDATE conversations SET tip_id = :tip WHERE id = :id AND owner_id = :owner",
        tip=tip_id,
        id=conversation_id,
        owner=actor.account_id,
    )
    if tip_id is not None:
        note_view(tx, conversation_id, tip_id, now)


def note_view(tx: Tx, conversation_id: str, tip_id: str, now: int) -> None:
    tx.queue(
        "INSERT INTO views (conversation_id, tip_id, seen_at) VALUES (:id, :tip, :now)"
        " ON CONFLICT (conversation_id, tip_id) DO UPDATE SET seen_at = excluded.seen_at",
        id=conversation_id,
        tip=tip_id,
        now=now,
    )


def forget_view(tx: Tx, conversation_id: str, tip_id: str) -> None:
    """Something was written below: it is no tip any more."""
    tx.queue(
        "DELETE FROM views WHERE conversation_id = :id AND tip_id = :tip",
        id=conversation_id,
        tip=tip_id,
    )


def touch_conversation(
    tx: Tx, conversation_id: str, owner_id: str, *, now: int, model: str = "", more_branches: int = 0, tip_id: str = ""
) -> None:
    """A message came: the conversation rises in the list, and remembers the model last used and where it opens."""
    tx.queue(
        "UPDATE conversations SET updated_at = :now, branches = branches + :more,"
        " model = CASE WHEN :model = '' THEN model ELSE :model END, archived = 0,"
        " tip_id = CASE WHEN :tip = '' THEN tip_id ELSE :tip END,"
        " ends_at = CASE WHEN temporary = 1 AND deletion_id IS NULL THEN :ends_at ELSE ends_at END"
        " WHERE id = :id AND owner_id = :owner",
        now=now,
        more=more_branches,
        model=model,
        tip=tip_id,
        ends_at=now + TEMPORARY_US,
        id=conversation_id,
        owner=owner_id,
    )


def set_branches(tx: Tx, conversation_id: str, branches: int) -> None:
    tx.run("UPDATE conversations SET branches = :n WHERE id = :id", n=branches, id=conversation_id)


def hide_conversation(tx: Tx, actor: Actor, conversation_id: str, deletion_id: str) -> None:
    tx.run(
        "UPDATE conversations SET deletion_id = :deletion WHERE id = :id AND owner_id = :owner AND deletion_id IS NULL",
        deletion=deletion_id,
        id=conversation_id,
        owner=actor.account_id,
    )


def unhide_conversation(tx: Tx, actor: Actor, conversation_id: str, deletion_id: str) -> None:
    tx.run(
        "UPDATE conversations SET deletion_id = NULL WHERE id = :id AND owner_id = :owner AND deletion_id = :deletion",
        id=conversation_id,
        owner=actor.account_id,
        deletion=deletion_id,
    )


def wants_title(tx: Tx, conversation_id: str, owner_id: str) -> bool:
    """Whether nobody gave this conversation a title yet."""
    return (
        tx.one(
            int,
            "SELECT 1 FROM conversations WHERE id = :id AND owner_id = :owner AND title_source = 'none'"
            " AND deletion_id IS NULL",
            id=conversation_id,
            owner=owner_id,
        )
        is not None
    )


def keep_conversation(tx: Tx, actor: Actor, conversation_id: str) -> None:
    """A temporary conversation becomes one like any other."""
    tx.run(
        "UPDATE conversations SET temporary = 0, ends_at = 0 WHERE id = :id AND owner_id = :owner",
        id=conversation_id,
        owner=actor.account_id,
    )


def set_end(tx: Tx, actor: Actor, conversation_id: str, ends_at: int) -> bool:
    """When a temporary conversation is to be erased: at this time, but never later than a day after its last message.
    False: it is none of the actor's."""
    changed = tx.run(
        "UPDATE conversations SET ends_at = CASE WHEN updated_at + :day < :ends_at THEN updated_at + :day ELSE :ends_at"
        " END WHERE id = :id AND owner_id = :owner AND temporary = 1 AND deletion_id IS NULL",
        day=TEMPORARY_US,
        ends_at=ends_at,
        id=conversation_id,
        owner=actor.account_id,
    )
    return changed == 1


_OVER = (
    "FROM conversations c WHERE c.temporary = 1 AND c.ends_at < :now AND NOT EXISTS"
    " (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running')"
)


def over_temporaries(tx: Tx, now: int, limit: int) -> list[str]:
    """Temporary conversations whose time is over and in which nothing is being written, oldest first."""
    return tx.all(str, f"SELECT c.id {_OVER} ORDER BY c.ends_at, c.id LIMIT :limit", now=now, limit=limit)


def is_over(tx: Tx, conversation_id: str, now: int) -> bool:
    """Whether it is one of those."""
    return tx.one(int, f"SELECT 1 {_OVER} AND c.id = :id", now=now, id=conversation_id) is not None
