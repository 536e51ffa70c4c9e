"""Folders and tags as rows; each function takes the Actor and sees only what is theirs."""

from __future__ import annotations

import msgspec

from chatserver.clock import new_id
from chatserver.domain.access import Actor
from chatserver.domain.filing import Folder, Tag
from chatserver.store.database import Tx

_encode = msgspec.json.Encoder().encode


def folders_of(tx: Tx, actor: Actor) -> list[Folder]:
    """By name, those at the top and those in them alike."""
    return tx.all(
        Folder,
        "SELECT f.id, f.name, f.parent_id, (SELECT COUNT(*) FROM conversations c WHERE c.owner_id = :owner"
        " AND c.folder_id = f.id AND c.deletion_id IS NULL AND c.archived = 0 AND c.temporary = 0) AS chats"
        " FROM folders f WHERE f.owner_id = :owner ORDER BY f.created_at, f.id",
        owner=actor.account_id,
    )


def folder_of(tx: Tx, actor: Actor, folder_id: str) -> Folder | None:
    """The actor's folder, or None: unknown and somebody else's look the same."""
    return tx.one(
        Folder,
        "SELECT id, name, parent_id, 0 AS chats FROM folders WHERE id = :id AND owner_id = :owner",
        id=folder_id,
        owner=actor.account_id,
    )


def path_of(tx: Tx, owner_id: str, folder_id: str) -> tuple[str, ...]:
    """The names from the top down to one of the owner's folders; empty when there is none of this id."""
    names: list[str] = []
    wanted: str | None = folder_id
    while wanted and len(names) < 2:
        found = tx.one(
            Folder,
            "SELECT id, name, parent_id, 0 AS chats FROM folders WHERE id = :id AND owner_id = :owner",
            id=wanted,
            owner=owner_id,
        )
        if found is None:
            break
        names.insert(0, found.name)
        wanted = found.parent_id
    return tuple(names)


def folder_named(tx: Tx, owner_id: str, names: tuple[str, ...], now: int) -> str:
    """The id of the owner's folder of these names from the top down, at most two, made where there is none."""
    parent: str | None = None
    for name in names[:2]:
        at_the_top = "parent_id IS NULL" if parent is None else "parent_id = :parent"
        given = {} if parent is None else {"parent": parent}
        found = tx.one(
            str,
            f"SELECT id FROM folders WHERE owner_id = :owner AND name = :name AND {at_the_top} ORDER BY id LIMIT 1",
            owner=owner_id,
            name=name,
            **given,
        )
        if found is None:
            found = new_id()
            tx.run(
                "INSERT INTO folders (id, owner_id, parent_id, name, created_at)"
                " VALUES (:id, :owner, :parent, :name, :now)",
                id=found,
                owner=owner_id,
                parent=parent,
                name=name,
                now=now,
            )
        parent = found
    return parent or ""


def lock_folders(tx: Tx, actor: Actor) -> None:
    """Whoever changes folders after having looked at them holds this from before the look."""
    tx.lock(f"folders {actor.account_id}")


def insert_folder(tx: Tx, actor: Actor, *, folder_id: str, name: str, parent_id: str | None, now: int) -> None:
    tx.run(
        "INSERT INTO folders (id, owner_id, parent_id, name, created_at) VALUES (:id, :owner, :parent, :name, :now)",
        id=folder_id,
        owner=actor.account_id,
        parent=parent_id,
        name=name,
        now=now,
    )


def change_folder(tx: Tx, actor: Actor, folder_id: str, *, name: str, parent_id: str | None) -> None:
    tx.run(
        "UPDATE folders SET name = :name, parent_id = :parent WHERE id = :id AND owner_id = :owner",
        name=name,
        parent=parent_id,
        id=folder_id,
        owner=actor.account_id,
    )


def remove_folder(tx: Tx, actor: Actor, folder_id: str) -> None:
    """What lay in it, folders and chats, lies at the top from now on."""
    owner = actor.account_id
    tx.run("UPDATE folders SET parent_id = NULL WHERE parent_id = :id AND owner_id = :owner", id=folder_id, owner=owner)
    tx.run(
        "UPDATE conversations SET folder_id = '' WHERE folder_id = :id AND owner_id = :owner", id=folder_id, owner=owner
    )
    tx.run("DELETE FROM folders WHERE id = :id AND owner_id = :owner", id=folder_id, owner=owner)


def set_folder(tx: Tx, actor: Actor, conversation_id: str, folder_id: str) -> None:
    tx.run(
        "UPDATE conversations SET folder_id = :folder WHERE id = :id AND owner_id = :owner",
        folder=folder_id,
        id=conversation_id,
        owner=actor.account_id,
    )


def set_tags(tx: Tx, actor: Actor, conversation_id: str, tags: tuple[str, ...]) -> None:
    """Beside the chat, as it is shown, and by owner, as it is asked for."""
    tx.run(
        "UPDATE conversations SET tags = :tags WHERE id = :id AND owner_id = :owner",
        tags=_encode(tags).decode(),
        id=conversation_id,
        owner=actor.account_id,
    )
    tx.run("DELETE FROM conversation_tags WHERE conversation_id = :id", id=conversation_id)
    for tag in tags:
        tx.run(
            "INSERT INTO conversation_tags (conversation_id, tag, owner_id) VALUES (:id, :tag, :owner)",
            id=conversation_id,
            tag=tag,
            owner=actor.account_id,
        )


def tags_of(tx: Tx, actor: Actor) -> list[Tag]:
    """Every tag of the actor's chats with how many have it, the most used first."""
    found = tx.all(
        Tag,
        "SELECT t.tag AS name, COUNT(*) AS chats FROM conversation_tags t JOIN conversations c"
        " ON c.id = t.conversation_id WHERE t.owner_id = :owner AND c.owner_id = :owner AND c.deletion_id IS NULL"
        " AND c.archived = 0 GROUP BY t.tag",
        owner=actor.account_id,
    )
    return sorted(found, key=lambda tag: (-tag.chats, tag.name))


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    tx.run("DELETE FROM conversation_tags WHERE conversation_id = :id", id=conversation_id)
