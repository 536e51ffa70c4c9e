"""Files tied to a question: the sender's own, and only what the model asked can do something with."""

from __future__ import annotations

from collections.abc import Sequence

from chatserver.chat.files import no_such_file
from chatserver.chat.prompts import window_budget
from chatserver.domain.access import Actor
from chatserver.domain.calls import estimate_tokens
from chatserver.domain.files import part_of
from chatserver.domain.messages import FilePart, ImagePart, Parts, text_of
from chatserver.domain.models import Model
from chatserver.errors import BadInput
from chatserver.store import files as file_rows
from chatserver.store.database import Tx

ATTACHMENTS_MAX = 10


def attached(tx: Tx, actor: Actor, ids: Sequence[str]) -> Parts:
    """The parts that name these files of the actor's, in the order given. Raises NotFound for any other."""
    wanted = tuple(dict.fromkeys(ids))
    if len(wanted) > ATTACHMENTS_MAX:
        raise BadInput(
            "A message may hold %(most)s files. Send the others with the next one.",
            values={"most": ATTACHMENTS_MAX},
            code="too_many_files",
            status=422,
        )
    parts = []
    for file_id in wanted:
        file = file_rows.file_of(tx, actor, file_id)
        if file is None:
            raise no_such_file()
        parts.append(part_of(file))
    return tuple(parts)


def still_there(tx: Tx, actor: Actor, ids: Sequence[str]) -> None:
    """In the transaction that ties them: nobody took them away meanwhile, and nobody can any more. Raises NotFound."""
    if ids:
        file_rows.lock_files(tx, actor.account_id)
        attached(tx, actor, ids)


def check_readable(parts: Parts, models: Sequence[Model]) -> None:
    """Refuse to ask a model what it cannot take in. Raises BadInput `model_sees_no_images`, `files_too_long`."""
    has_pictures = any(isinstance(part, ImagePart) for part in parts)
    tokens = sum(part.tokens for part in parts if isinstance(part, FilePart))
    for model in models:
        if has_pictures and not model.may_see:
            raise BadInput(
                "%(model)s cannot see pictures. Pick a model that can, or take the picture out.",
                values={"model": model.title},
                code="model_sees_no_images",
                status=422,
            )
        if tokens and model.context_tokens:
            needed = tokens + estimate_tokens(text_of(parts))
            if needed > window_budget(model):
                raise BadInput(
                    "The files are about %(tokens)s tokens long, more than %(model)s reads at once (%(most)s)."
                    " Attach a shorter part, or pick a model with a larger window.",
                    values={"tokens": tokens, "model": model.title, "most": model.context_tokens},
                    code="files_too_long",
                    status=422,
                )
