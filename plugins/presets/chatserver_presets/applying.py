"""A preset on its way into a prompt: chosen or taken over before a send is kept, put around the words after."""

from __future__ import annotations

import msgspec

from chatserver import BadInput, Prompt, PromptMessage, SendRequest, TextPart
from chatserver import gettext as _
from chatserver_presets.preset import Choice, check_values, fill, read_choice
from chatserver_presets.shelf import Shelf

FIELD = "presets"
LABEL, VERSION_LABEL = "preset", "preset_version"


class Applying:
    """What is chosen lasts for its branch: a send that says nothing has what the turn above it had."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def complete(self, request: SendRequest) -> SendRequest | None:
        """The request with the version that will be used, its values, its model and its labels. Raises BadInput."""
        given = request.fields.get(FIELD, request.above.get(FIELD))
        if given is None:
            return None
        is_asked_for = FIELD in request.fields
        choice = read_choice(given)
        owner = request.account.id
        found = await self._shelf.find(owner, choice.id) if choice.id else None
        if found is None:
            if is_asked_for and choice.id:
                raise BadInput(
                    _("There is no such preset any more. Pick another, or take it away."),
                    code="unknown_preset",
                    status=422,
                )
            rest = {name: value for name, value in request.fields.items() if name != FIELD}
            return msgspec.structs.replace(request, fields=rest)
        number, content = found.version, found.content
        if is_asked_for and choice.version and choice.version != number:
            older = await self._shelf.find_version(owner, found.id, choice.version)
            if older is None:
                text = _("This preset has no version {number}.").format(number=choice.version)
                raise BadInput(text, code="unknown_version", status=422)
            number, content = older.number, older.content
        try:
            values = check_values(content, choice.values)
        except BadInput:
            # nobody asked for the newer version here: what was filled in goes on with the version it was made for
            older = None if is_asked_for else await self._shelf.find_version(owner, found.id, choice.version)
            if older is None:
                raise
            number, content = older.number, older.content
            values = check_values(content, choice.values)
        used = Choice(found.id, number, values)
        return msgspec.structs.replace(
            request,
            model=request.model or content.model,
            fields={**request.fields, FIELD: msgspec.Raw(msgspec.json.encode(used))},
            labels={**request.labels, LABEL: found.id, VERSION_LABEL: str(number)},
        )

    async def apply(self, prompt: Prompt) -> Prompt | None:
        """Instructions first, the addition at the end of the last question, parameters where the chat has none."""
        given = prompt.fields.get(FIELD)
        if given is None:
            return None
        choice = read_choice(given)
        found = await self._shelf.find_version(prompt.account.id, choice.id, choice.version)
        if found is None:
            return None
        content = found.content
        messages = list(prompt.messages)
        if content.after:
            added = TextPart("\n\n" + fill(content.after, choice.values))
            last = max((at for at, message in enumerate(messages) if message.role == "user"), default=None)
            if last is not None:
                question = messages[last]
                messages[last] = msgspec.structs.replace(question, parts=(*question.parts, added))
        if content.before:
            messages.insert(0, PromptMessage("system", (TextPart(fill(content.before, choice.values)),)))
        parameters = {**content.parameters.for_model(prompt.model), **prompt.parameters}
        return msgspec.structs.replace(prompt, messages=tuple(messages), parameters=parameters)
