"""A message as it is spoken: without marks, code and tables named instead of read, in passages of one language each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from chatserver import gettext as _

FIRST_MOST = 160
MOST = 400
"""Characters of a passage. The first is shorter: something is to be heard soon."""
LEAST = 60

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_TABLE = re.compile(r"^\s*\|?[\s:|-]*-{2,}[\s:|-]*\|[\s:|-]*$")
_MARKS = (
    (re.compile(r"!\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"<(?:https?|mailto):[^>\s]*>|https?://\S+"), ""),
    (re.compile(r"</?[A-Za-z][^<>]{0,200}>"), ""),
    (re.compile(r"`+([^`]*)`+"), r"\1"),
    (re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*]+)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]+)(?<=\S)_(?!\w)"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!$-])"), r"\1"),
)
_LINE_MARK = re.compile(r"^\s*(?:#{1,6}\s+|>\s?|[-*+]\s+(?:\[[ xX]\]\s+)?|\d{1,9}[.)]\s+)+")
_RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$")
_END = re.compile(
    r"(?<=[.!?…])(?=\s)|(?<=[.!?…][\"'”’»)])(?=\s)|(?<=[。！？；])(?![”’」』）。！？])|(?<=[。！？；][”’」』）])|\n"
)
_WORD = re.compile(r"[a-zà-öø-ÿœß']+")
_FREQUENT = {
    "en": frozenset(
        "the of and to in is that it for you with are this be on not have was but can they from will".split()
    ),
    "fr": frozenset(
        "le la les des est et une du en que qui dans pour pas vous je ce il sur avec au sont mais ou".split()
    ),
    "de": frozenset(
        "der die das und ist nicht ein eine zu den mit von auf für sich dem es auch als wie ich sie".split()
    ),
    "es": frozenset("el los las de que y en un una por con para es no se lo del al más pero como su está".split()),
    "it": frozenset("il lo gli di che è e un una per con non si da del della sono come più anche ma nel".split()),
    "pt": frozenset("o os as de que e um uma para com não se do da em por mais como mas foi são você".split()),
}
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
)


class SpokenPassage(msgspec.Struct, frozen=True):
    """What is said at once, and in which language; '' when nothing tells."""

    text: str
    language: str


def passages_of(markdown: str) -> list[SpokenPassage]:
    """A message in pieces, each a sentence or a few."""
    made: list[SpokenPassage] = []
    for sentence in _sentences(plain(markdown)):
        language = language_of(sentence)
        last = made[-1] if made else None
        most = FIRST_MOST if len(made) == 1 else MOST
        if (
            last is not None
            and len(last.text) < LEAST
            and len(last.text) + len(sentence) < most
            and (not language or not last.language or language == last.language)
        ):
            made[-1] = SpokenPassage(f"{last.text} {sentence}", last.language or language)
            continue
        made.append(SpokenPassage(sentence, language or (last.language if last else "")))
    return made


def plain(markdown: str) -> str:
    """The words of a message. What cannot be read aloud is named in the reader's language."""
    return "\n".join(_lines(markdown))


def _lines(markdown: str) -> Iterator[str]:
    lines = markdown.replace("\r\n", "\n").split("\n")
    fence, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            continue
        if opened:
            fence = opened[1]
            yield _("Here is some code.")
            continue
        if "|" in line and at < len(lines) and _TABLE.match(lines[at]):
            while at < len(lines) and "|" in lines[at]:
                at += 1
            yield _("Here is a table.")
            continue
        if _RULE.match(line):
            continue
        text = _LINE_MARK.sub("", line)
        for mark, instead in _MARKS:
            text = mark.sub(instead, text)
        if text.strip():
            yield text.strip()


def _sentences(text: str) -> Iterator[str]:
    for piece in _END.split(text):
        sentence = " ".join(piece.split())
        while len(sentence) > MOST:
            cut = max(sentence.rfind(mark, LEAST, MOST) for mark in (", ", "，", "、", "; ", ": ", " "))
            cut = cut + 1 if cut > 0 else MOST
            yield sentence[:cut].strip()
            sentence = sentence[cut:].strip()
        if any(character.isalnum() for character in sentence):
            yield sentence


def language_of(text: str) -> str:
    """By script, and of those in Latin letters by their most frequent words; '' when nothing tells."""
    letters = sum(character.isalpha() for character in text)
    for language, script in _SCRIPTS:
        if len(script.findall(text)) * 4 > letters:
            return language
    words = _WORD.findall(text.lower())
    votes = {language: sum(word in frequent for word in words) for language, frequent in _FREQUENT.items()}
    best = max(votes, key=lambda language: votes[language])
    return best if votes[best] else ""
