"""Grove, the default look: tokens, style sheets and fonts; no code but the hook that names them."""

from __future__ import annotations

from pathlib import Path

from chatserver import ThemeSpec, hookimpl

STYLESHEETS = tuple(
    f"{noun}.css"
    for noun in "tokens base side main thread prose composer fields layers screens print".split()  # in this order
)


@hookimpl()
def register_themes() -> list[ThemeSpec]:
    return [
        ThemeSpec(
            name="grove",
            title="Grove",
            static_dir=str(Path(__file__).parent / "static"),
            stylesheets=STYLESHEETS,
            sheets={
                "compare": ("compare.css",),
                "console": ("console.css",),
                "files": ("files.css",),
                "pages": ("pages.css",),
                "panel": ("panel.css",),
                "share": ("share.css",),
                "messages": ("messages.css",),
                "sources": ("sources.css",),
            },
            preload=("fonts/geist-latin-wght-normal.woff2",),
        )
    ]
