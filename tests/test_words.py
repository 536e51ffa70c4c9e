"""The core knows no vendor and no money: a test of its identifiers and strings, templates and scripts included."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VENDORS = set(
    "openai chatgpt gpt anthropic claude gemini vertex ollama mistral mixtral llama deepseek groq grok xai cohere"
    " bedrock azure openrouter litellm vllm huggingface perplexity together fireworks replicate moonshot qwen smollm"
    " xllamacpp litert stripe paypal adyen".split()
)
MONEY = set(
    "currency currencies price prices pricing priced credit credits plan plans invoice invoices billing bill billed"
    " payment payments pay paid cents dollar dollars euro euros usd eur subscription subscriptions ledger money"
    " discount refund refunds vat".split()
)
# Words with another meaning where they stand, each with its reason.
ALLOWED = {
    # BUNDLED, the one constant that names our own distributions.
    "chatserver/plugins/found.py": {"openai", "anthropic", "gemini", "ollama"},
    # `migrate --plan`, a promised option, and what it asks of a database: which steps would run.
    "chatserver/cli/base.py": {"plan"},
    "chatserver/cli/examining.py": {"plan"},
    "chatserver/cli/upkeep.py": {"plan"},
    "chatserver/testing/engine.py": {"plan"},  # the same
    "chatserver/testing/server.py": {"openai"},  # the provider of ours that speaks to the fake upstream
    "chatserver/domain/calls.py": {"money"},  # says that usage never is
    "chatserver/web/dialect.py": {"prices"},  # a dollar sign before a figure begins no formula
}
ALLOWED_BELOW = {"chatserver/store": {"plan"}}  # what a migration would do
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(text: str) -> set[str]:
    """`OpenAIKey`, `open_ai`, "an OpenAI key": the pieces in lower case, and the vendors that two of them make."""
    pieces = [piece.lower() for piece in _PIECE.findall(text)]
    return {*pieces, *(VENDORS & set(map("".join, itertools.pairwise(pieces))))}


def texts_of(source: str) -> Iterator[str]:
    """Identifiers and strings of Python; comments are left out, docstrings are strings."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.alias(name=text):
                yield text
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                yield text
            case ast.keyword(arg=str(text)):
                yield text


def wrong_words(path: str, source: str) -> set[str]:
    texts = texts_of(source) if path.endswith(".py") else [source]
    found: set[str] = set()
    for text in texts:
        found |= words_of(text)
    allowed = ALLOWED.get(path, set()) | ALLOWED_BELOW.get(str(Path(path).parent), set())
    return (found & (VENDORS | MONEY)) - allowed


def sources() -> list[Path]:
    kinds = {".py", ".html", ".js", ".css", ".toml", ".po"}
    found = [path for path in (ROOT / "chatserver").rglob("*") if path.suffix in kinds]
    return [path.relative_to(ROOT) for path in sorted(found) if not _is_foreign(path)]


def _is_foreign(path: Path) -> bool:
    """Vendored files are other people's words."""
    return ".min." in path.name or path.name.startswith("htmx")


def test_the_core_names_no_vendor_and_no_money() -> None:
    wrong = {str(path): wrong_words(str(path), (ROOT / path).read_text()) for path in sources()}
    assert {path: words for path, words in wrong.items() if words} == {}


def test_every_exception_is_still_needed() -> None:
    for path, allowed in ALLOWED.items():
        used: set[str] = set()
        for text in texts_of((ROOT / path).read_text()):
            used |= words_of(text)
        assert allowed <= used, path


@pytest.mark.parametrize(
    "source",
    [
        "openai_key = 1",
        "x.OpenAI()",
        "def pricePerToken(): ...",
        "x = 'ask Anthropic'",
        "f(credits=1)",
        "class OpenAi: ...",
    ],
)
def test_a_wrong_word_is_found(source: str) -> None:
    assert wrong_words("chatserver/x.py", source)


@pytest.mark.parametrize("source", ["credential = 1", "x = 'a planet'  # openai", "payload = 'repay'"])
def test_other_words_are_let_through(source: str) -> None:
    assert not wrong_words("chatserver/x.py", source)
