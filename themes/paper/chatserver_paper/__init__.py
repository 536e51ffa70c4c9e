"""Paper, a second look: tokens over Grove's layout, and two named blocks; no code but the hook that names them."""

from __future__ import annotations

from pathlib import Path

from chatserver import ThemeSpec, hookimpl

HERE = Path(__file__).parent


@hookimpl()
def register_themes() -> list[ThemeSpec]:
    return [
        ThemeSpec(
            name="paper",
            title="Paper",
            static_dir=str(HERE / "static"),
            stylesheets=("paper.css",),
            base="grove",
            templates_dir=str(HERE / "templates"),
        )
    ]
