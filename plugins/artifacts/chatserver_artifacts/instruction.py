"""What models are told of artifacts: a few lines above the chat, for those that are up to it."""

from __future__ import annotations

import msgspec

from chatserver import Context, Prompt, PromptMessage, Setting, TextPart

SETTINGS = [
    Setting(
        "instruct",
        "Tell models how to write artifacts: able (those known to call tools), all, or none",
        default="able",
        is_live=True,
        choices=("able", "all", "none"),
    )
]
TEXT = (
    "When you make something that stands by itself (a web page, a drawing, a diagram, a document, a table of data, a"
    " longer program), write it once, whole, in a fenced code block with its kind and a title, as in"
    ' ```html title="A clock" … ```. Kinds: html (one file, no network), svg, mermaid, markdown, csv, or the'
    " programming language. To change it later, write it again, whole, under the same title."
)


class Instruction:
    def open(self, ctx: Context) -> None:
        self._settings = ctx.settings

    def add(self, prompt: Prompt) -> Prompt | None:
        """A system message more, where the model may be told."""
        wanted = self._settings["instruct"]
        if wanted == "none" or (wanted != "all" and "tools" not in prompt.model.abilities):
            return None
        told = PromptMessage("system", (TextPart(TEXT),))
        place = next((at for at, one in enumerate(prompt.messages) if one.role != "system"), len(prompt.messages))
        return msgspec.structs.replace(prompt, messages=(*prompt.messages[:place], told, *prompt.messages[place:]))
