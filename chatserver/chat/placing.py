"""Give a foreign tree its place here: ids that stay the same however often it is brought, and order by creation."""

from __future__ import annotations

import hashlib

import msgspec

from chatserver.clock import read_id, write_id
from chatserver.domain.conversations import TITLE_LIMIT, Conversation, title_from
from chatserver.domain.feedback import REASON_LIMIT, TAGS, Feedback
from chatserver.domain.filing import NAME_LIMIT, TAG_LIMIT, TAGS_LIMIT
from chatserver.domain.imported import ImportedConversation, ImportedMessage
from chatserver.domain.messages import Message, text_of
from chatserver.domain.tuning import HIGHEST_TEMPERATURE, MOST_OUTPUT_TOKENS, SYSTEM_PROMPT_LIMIT, Parameters, Tuning
from chatserver.errors import BadInput

MODEL_LIMIT = 200
BRANCH_NAME_LIMIT = 60
_TIME_BITS, _ORDER_BITS, _HASH_BITS = 48, 20, 60


class Placed(msgspec.Struct, frozen=True):
    """A tree as it will be stored: messages with parents before children, tip and branches worked out."""

    conversation: Conversation
    messages: tuple[Message, ...]
    cleared_at: dict[str, int]
    feedback: dict[str, Feedback]
    branches: dict[str, str] = {}
    folder: tuple[str, ...] = ()


def place(source: ImportedConversation, account_id: str, now: int, attempt: int = 0) -> Placed:
    """The tree under the ids of an attempt, the same for the same account and attempt every time.

    Attempt 0 keeps ids that are ours, and makes others from where they come; each later one gives other ids, for when
    those of the one before belong to something else. Raises BadInput for what is no tree.
    """
    ordered = _parents_first(source)
    ids = _kept_ids(source, account_id, attempt) or _made_ids(source, ordered, account_id, attempt)
    known = [at for time in (source.created_at, *(m.created_at for m in ordered)) if (at := _possible(time))]
    created_at = _possible(source.created_at) or min(known, default=now)
    messages: list[Message] = []
    times: dict[str, int] = {}
    for message in ordered:
        at = _possible(message.created_at) or times.get(message.parent_id or "", created_at)
        times[message.id] = at
        messages.append(
            Message(
                id=ids[message.id],
                conversation_id=ids[""],
                parent_id=ids[message.parent_id] if message.parent_id is not None else None,
                role=message.role,
                state="interrupted" if message.state == "running" else message.state,
                parts=message.parts,
                model=_clean(message.model)[:MODEL_LIMIT],
                created_at=at,
                continues=message.continues and message.parent_id is not None,
                cleared_after=bool(message.cleared_at),
            )
        )
    parents = {message.parent_id for message in messages}
    leaves = [message.id for message in messages if message.id not in parents]
    tip_id = ids[source.tip_id] if source.tip_id is not None and source.tip_id in times else max(leaves, default=None)
    title = _one_line(source.title)
    if not title and source.title_source != "none":
        title = _one_line(next((title_from(text_of(m.parts)) for m in ordered if m.role == "user"), ""))
    if len(title) > TITLE_LIMIT:
        title = title[: TITLE_LIMIT - 1].rstrip() + "…"
    conversation = Conversation(
        id=ids[""],
        owner_id=account_id,
        title=title,
        title_source=source.title_source if title else "none",
        tip_id=tip_id,
        model=_clean(source.model)[:MODEL_LIMIT],
        pinned=source.pinned,
        archived=source.archived,
        created_at=created_at,
        updated_at=_possible(source.updated_at) or max(known, default=now),
        branches=len(leaves),
        tuning=_sound_tuning(source.tuning),
        tags=_sound_names(source.tags, TAG_LIMIT)[:TAGS_LIMIT],
    )
    cleared_at = {ids[m.id]: m.cleared_at for m in ordered if m.cleared_at}
    feedback = {ids[m.id]: _sound_feedback(m.feedback, now) for m in ordered if m.feedback and m.role == "assistant"}
    branches = {ids[m.id]: name for m in ordered if (name := _one_line(m.branch)[:BRANCH_NAME_LIMIT])}
    folder = _sound_names(source.folder, NAME_LIMIT)[:2]
    return Placed(conversation, tuple(messages), cleared_at, feedback, branches, folder)


def _parents_first(source: ImportedConversation) -> list[ImportedMessage]:
    """By depth, siblings in their order of creation. Raises BadInput for doubles, orphans and circles."""
    below: dict[str | None, list[ImportedMessage]] = {}
    known = {message.id for message in source.messages}
    if len(known) != len(source.messages) or "" in known:
        raise BadInput(
            "The conversation %(id)s has two messages of one id.", values={"id": source.id[:80]}, code="damaged_file"
        )
    for message in source.messages:
        if message.parent_id is not None and message.parent_id not in known:
            raise BadInput(
                "The conversation %(id)s lacks a parent of a message.",
                values={"id": source.id[:80]},
                code="damaged_file",
            )
        below.setdefault(message.parent_id, []).append(message)
    ordered: list[ImportedMessage] = []
    level: list[str | None] = [None]
    while level:
        found = [one for parent in level for one in sorted(below.get(parent, ()), key=lambda one: one.created_at)]
        ordered += found
        level = [one.id for one in found]
    if len(ordered) != len(source.messages):
        raise BadInput("The conversation %(id)s runs in a circle.", values={"id": source.id[:80]}, code="damaged_file")
    return ordered


def _kept_ids(source: ImportedConversation, account_id: str, attempt: int) -> dict[str, str] | None:
    """Ids of ours, moved by one distance for a whole conversation, so that their order stays. None: not ours."""
    values = {"": read_id(source.id)} | {message.id: read_id(message.id) for message in source.messages}
    distance = _hash(72, account_id, source.id, str(attempt)) if attempt else 0
    ids = {}
    for key, value in values.items():
        if value is None or value + distance >= 1 << 128:
            return None
        ids[key] = write_id(value + distance)
    return ids


def _made_ids(
    source: ImportedConversation, ordered: list[ImportedMessage], account_id: str, attempt: int
) -> dict[str, str]:
    """Ids from times, places in the tree and names: a child's sorts after its parent's, siblings' in their order."""
    salt = (account_id, source.id, str(attempt))
    root_ms = _milliseconds(source.created_at)
    ids = {"": write_id(root_ms << (_ORDER_BITS + _HASH_BITS) | _hash(_ORDER_BITS + _HASH_BITS, *salt))}
    places: dict[str | None, tuple[int, int]] = {None: (root_ms, 0)}
    siblings: dict[str | None, int] = {}
    for message in ordered:
        parent_ms, parent_order = places[message.parent_id]
        index = siblings[message.parent_id] = siblings.get(message.parent_id, -1) + 1
        ms = max(_milliseconds(message.created_at), parent_ms)
        order = index if ms > parent_ms else parent_order + 1 + index
        places[message.id] = (ms, order)
        high = (ms << _ORDER_BITS) + order
        ids[message.id] = write_id(high << _HASH_BITS | _hash(_HASH_BITS, *salt, message.id))
    return ids


def _sound_names(names: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """Each once, on one line, no longer than it may be, without commas."""
    return tuple(dict.fromkeys(name for one in names if (name := _one_line(one.replace(",", " "))[:limit].strip())))


def _sound_tuning(tuning: Tuning) -> Tuning:
    """What of it could have been set here."""
    given = tuning.parameters
    temperature = given.temperature
    if temperature is not None and not 0 <= temperature <= HIGHEST_TEMPERATURE:
        temperature = None
    max_output = given.max_output if 0 < given.max_output <= MOST_OUTPUT_TOKENS else 0
    return Tuning(
        _clean(tuning.system_prompt)[:SYSTEM_PROMPT_LIMIT],
        Parameters(temperature, max_output, given.reasoning_effort),
    )


def _sound_feedback(feedback: Feedback, now: int) -> Feedback:
    tags = tuple(tag for tag in TAGS[feedback.value] if tag in feedback.tags)
    reason = _clean(feedback.reason)[:REASON_LIMIT]
    return Feedback(feedback.value, tags, reason, _possible(feedback.changed_at) or now)


def _one_line(text: str) -> str:
    return " ".join(_clean(text).splitlines()).strip()


def _clean(text: str) -> str:
    """Without what a database cannot hold in a text of its own: NUL, and halves of a character."""
    return text.replace("\x00", "").encode("utf-8", "ignore").decode()


def _possible(time_us: int) -> int:
    """A time as it was told, or 0 when it cannot be."""
    return time_us if 0 < time_us < 1 << 62 else 0


def _milliseconds(time_us: int) -> int:
    return min(max(time_us // 1_000, 0), (1 << _TIME_BITS) - (1 << 24))


def _hash(bits: int, *texts: str) -> int:
    digest = hashlib.blake2b("\x00".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest) & ((1 << bits) - 1)
