"""Take in the chats that other programs export: a pure function for each format, found by content."""

from __future__ import annotations

from chatserver import Importer, hookimpl
from chatserver_imports import chatgpt, claude, librechat, lobechat, openwebui


@hookimpl
def register_importers() -> list[Importer]:
    return [
        Importer("chatgpt", "ChatGPT", chatgpt.recognises, chatgpt.read),
        Importer("claude", "Claude", claude.recognises, claude.read),
        Importer("openwebui", "Open WebUI", openwebui.recognises, openwebui.read),
        Importer("lobechat", "LobeChat", lobechat.recognises, lobechat.read),
        Importer("librechat", "LibreChat", librechat.recognises, librechat.read),
    ]
