"""Code figures: a block of code with its language, a copy button and, once it is finished, its colours."""

from __future__ import annotations

import functools
import html
import re

from chatserver.web import assets

# Above these, the first for a whole message, code keeps its letters and loses its colours.
COLOURED_CHARS = 30_000
COLOURED_LINE_CHARS = 2_000
LABEL_CHARS = 24
INFO_CHARS = 200
_BUTTON = re.compile(r'<button type="button" class="icon-btn" data-copy-code[^>]*>.*?</button>')

# What people write after the fence -> the name we show and use as class, which is also a lexer of Pygments.
_LANGUAGES = {
    alias: name
    for name, aliases in {
        "bash": "bash sh shell zsh ksh",
        "c": "c h",
        "console": "console shell-session terminal",
        "cpp": "cpp c++ cxx cc hpp",
        "csharp": "csharp c# cs",
        "css": "css",
        "dart": "dart",
        "diff": "diff patch udiff",
        "docker": "docker dockerfile",
        "elixir": "elixir ex exs",
        "go": "go golang",
        "graphql": "graphql gql",
        "haskell": "haskell hs",
        "html": "html htm xhtml svg",
        "http": "http",
        "ini": "ini cfg conf",
        "java": "java",
        "javascript": "javascript js jsx mjs cjs node",
        "json": "json jsonc json5",
        "julia": "julia jl",
        "kotlin": "kotlin kt",
        "lua": "lua",
        "make": "make makefile",
        "nginx": "nginx",
        "perl": "perl pl",
        "php": "php",
        "powershell": "powershell ps1 pwsh",
        "python": "python py py3 python3",
        "r": "r",
        "ruby": "ruby rb",
        "rust": "rust rs",
        "scala": "scala",
        "scss": "scss sass",
        "sql": "sql sqlite postgresql postgres mysql",
        "swift": "swift",
        "tex": "tex latex",
        "toml": "toml",
        "typescript": "typescript ts tsx",
        "xml": "xml",
        "yaml": "yaml yml",
    }.items()
    for alias in aliases.split()
}

# The five colours the style sheets know, by the start of a token's name; the first that fits is taken.
_COLOURS = (
    ("Token.Keyword.Constant", "m"),
    ("Token.Keyword", "k"),
    ("Token.Operator.Word", "k"),
    ("Token.Name.Tag", "k"),
    ("Token.Name.Builtin", "f"),
    ("Token.Name.Function", "f"),
    ("Token.Name.Class", "f"),
    ("Token.Name.Decorator", "f"),
    ("Token.Name.Attribute", "f"),
    ("Token.Literal.String", "s"),
    ("Token.Literal.Number", "m"),
    ("Token.Comment.Preproc", "k"),
    ("Token.Comment", "c"),
    ("Token.Generic.Inserted", "s"),
    ("Token.Generic.Deleted", "c"),
    ("Token.Generic.Prompt", "c"),
)


def language_of(info: str) -> str:
    """Our name for the language after a fence, or "" where we do not know it."""
    word = info.split(maxsplit=1)[0] if info.strip() else ""
    return _LANGUAGES.get(word.strip("{}.").lower(), "")


def figure(code: str, info: str, *, is_finished: bool, is_coloured: bool) -> str:
    """Safe HTML of one block of code. Unfinished code has no colours and says where its text
    grows; what was written after the fence is told where it is more than the label."""
    language = language_of(info)
    label = language or " ".join(info.split()[:1])[:LABEL_CHARS] or "text"
    code = code.removesuffix("\n") if is_finished else code
    body = _coloured(code, language) if is_coloured and language else html.escape(code, quote=False)
    attributes = f' class="language-{language}"' if language else ""
    grows = "" if is_finished else " data-tail"
    told = info.strip()[:INFO_CHARS]
    about = f' data-info="{html.escape(told)}"' if told not in ("", label) else ""
    return (
        f'<figure class="code"{about}><figcaption><span>{html.escape(label)}</span>{_copy_button()}</figcaption>'
        f'<pre tabindex="0"><code{attributes}{grows}>{body}</code></pre></figure>'
    )


def without_buttons(written: str) -> str:
    """HTML of ours without what is of no use on paper and in a file."""
    return _BUTTON.sub("", written)


@functools.cache
def _copy_button() -> str:
    href = html.escape(assets.url("core", "icons.svg"))
    return (
        '<button type="button" class="icon-btn" data-copy-code aria-label="Copy code">'
        f'<svg class="i s" aria-hidden="true"><use href="{href}#copy"/></svg></button>'
    )


def _coloured(code: str, language: str) -> str:
    if max(map(len, code.split("\n"))) > COLOURED_LINE_CHARS:
        return html.escape(code, quote=False)
    parts: list[str] = []
    colour, run = "", ""
    for kind, value in _lexer(language).get_tokens(code):
        next_colour = colour if value.isspace() and "\n" not in value else _colour_of(kind)
        if next_colour == colour:
            run += value
            continue
        parts.append(_span(run, colour))
        colour, run = next_colour, value
    parts.append(_span(run, colour))
    return "".join(parts)


def _span(text: str, colour: str) -> str:
    text = html.escape(text, quote=False)
    return f'<span class="{colour}">{text}</span>' if colour and text else text


@functools.cache
def _colour_of(kind: object) -> str:
    name = str(kind)
    return next((colour for start, colour in _COLOURS if name.startswith(start)), "")


@functools.cache
def _lexer(language: str):  # type: ignore[no-untyped-def]
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language, stripnl=False, ensurenl=False)
