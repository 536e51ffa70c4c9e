"""Read a file into passages. Runs confined and by path: `reading.py IN NAME OUT [CHARSET]`; writes JSON to OUT:
`{"passages": [{"page", "heading", "text"}]}`, or `{"refused": SENTENCE}`. Meanwhile `OUT.pages` says `DONE TOTAL`."""

import contextlib
import csv
import html.parser
import io
import json
import os
import re
import sys
import time
import zipfile
from pathlib import Path

LONGEST = 1_100
"""Characters of a passage, and how many of the one before it begins with."""
OVERLAP = 120
PASSAGES_MOST = 20_000
PAGES_MOST = 2_000
UNPACKED_MOST = 200 * 1024 * 1024
ENTRIES_MOST = 2_000
RATIO_MOST = 100
TELL_S = 0.3


class Refused(Exception):
    """Why a file is not taken, as a sentence."""


def main(source: Path, name: str, told: Path | None = None, charset: str = "") -> dict:
    """charset: of a text, where that is known."""
    try:
        return {"passages": passages_of(read(source, name, told, charset))}
    except Refused as refused:
        return {"refused": str(refused)}


def passages_of(sections) -> list:
    """Raises Refused for none, and for too many."""
    passages: list = []
    try:
        for page, heading, text in sections:
            heading = whole(heading)[:200]
            passages += [{"page": page, "heading": heading, "text": piece} for piece in pieces_of(whole(text))]
            if len(passages) > PASSAGES_MOST:
                raise Refused("The file has more passages than are kept. Cut it into smaller ones.")
    except (Refused, MemoryError):
        raise
    except Exception as error:  # whatever a library stumbles over
        raise Refused(
            "The file is damaged, or of another kind than its name says. Save it anew and try again."
        ) from error
    if not passages:
        raise Refused("There is no text in this file. If it is a scan, run it through text recognition first.")
    return passages


def whole(text: str) -> str:
    """Halves of characters, which some PDFs hold, are replaced: no JSON may have them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read(source: Path, name: str, told: Path | None = None, charset: str = ""):
    """(page, heading, text) of each section; page 0 where there are none."""
    head = source.open("rb").read(8)
    ending = name.lower().rpartition(".")[2]
    if head.startswith(b"%PDF"):
        yield from read_pdf(source, told)
    elif head.startswith(b"PK\x03\x04"):
        check_zip(source)
        names = set(zipfile.ZipFile(source).namelist())
        if "word/document.xml" in names:
            yield from read_docx(source)
        elif any(one.startswith("ppt/slides/") for one in names):
            yield from read_pptx(source)
        elif "xl/workbook.xml" in names:
            yield from read_xlsx(source)
        else:
            raise Refused("This archive is no document that can be read here. Send PDF, DOCX, PPTX or XLSX.")
    elif head.startswith(b"\xd0\xcf\x11\xe0"):
        raise Refused("This is an old or an encrypted Office file. Save it as DOCX, PPTX or XLSX without a password.")
    else:
        text = decode(source.read_bytes(), charset)
        if ending in ("html", "htm", "xhtml") or text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
            yield from read_html(text)
        elif ending in ("csv", "tsv"):
            yield from read_csv(text)
        else:
            yield from read_marked(text, is_marked=ending in ("md", "markdown", ""))


def check_zip(source: Path) -> None:
    with zipfile.ZipFile(source) as packed:
        entries = packed.infolist()
    if len(entries) > ENTRIES_MOST:
        raise Refused("The file holds more parts than are read.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > UNPACKED_MOST or unpacked > RATIO_MOST * max(source.stat().st_size, 10_000):
        raise Refused("The file unpacks to far more than it is. It is not read.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refused("The file is encrypted. Save it without a password.")


def decode(data: bytes, charset: str) -> str:
    if charset:
        return data.decode(charset, "replace").removeprefix("\ufeff")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return data.decode("gb18030")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")


def read_pdf(source: Path, told: Path | None):
    import pypdf

    reader = pypdf.PdfReader(source)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Refused("The PDF is encrypted. Save it without a password.")
    if len(reader.pages) > PAGES_MOST:
        raise Refused("The PDF has more pages than are read. Cut it into smaller ones.")
    again_s = 0.0
    for number, page in enumerate(reader.pages, 1):
        if told is not None and time.monotonic() > again_s:
            again_s = time.monotonic() + TELL_S
            with contextlib.suppress(OSError):  # it is only for who looks on
                whole = told.with_suffix(".new")
                whole.write_text(f"{number - 1} {len(reader.pages)}")
                os.replace(whole, told)
        yield number, "", page.extract_text() or ""


def read_docx(source: Path):
    import docx

    heading, kept = "", []
    document = docx.Document(str(source))
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            kept += [" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows]
        elif block.style is not None and (block.style.name or "").startswith(("Heading", "Title")):
            yield 0, heading, "\n".join(kept)
            heading, kept = block.text, []
        else:
            kept.append(block.text)
    yield 0, heading, "\n".join(kept)


def read_pptx(source: Path):
    import pptx

    for number, slide in enumerate(pptx.Presentation(str(source)).slides, 1):
        title = slide.shapes.title.text if slide.shapes.title is not None else ""
        kept = [shape.text_frame.text for shape in slide.shapes if shape.has_text_frame]
        for shape in slide.shapes:
            if getattr(shape, "has_table", False) and shape.has_table:
                kept += [" | ".join(cell.text for cell in row.cells) for row in shape.table.rows]
        if slide.has_notes_slide:
            kept.append(slide.notes_slide.notes_text_frame.text)
        yield number, title, "\n".join(kept)


def read_xlsx(source: Path):
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(source.read_bytes()), read_only=True, data_only=True)
    for sheet in book.worksheets:
        rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
        yield from rows_of([row for row in rows if any(row)], sheet.title)


def read_csv(text: str):
    delimiter = max(",;\t|", key=text[:4096].count)
    yield from rows_of([row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)], "")


def rows_of(rows: list, heading: str):
    """Each row with its columns' names, so that it can be understood alone."""
    if not rows:
        return
    names, kept, size = rows[0], [], 0
    for row in rows[1:] or rows:
        line = "; ".join(
            f"{names[at]}: {cell}" if at < len(names) and names[at] and row is not names else cell
            for at, cell in enumerate(row)
            if cell
        )
        if size + len(line) > LONGEST and kept:
            yield 0, heading, "\n".join(kept)
            kept, size = [], 0
        kept.append(line)
        size += len(line) + 1
    yield 0, heading, "\n".join(kept)


def read_marked(text: str, *, is_marked: bool):
    """By Markdown's headings; other text is one section."""
    trail, kept, in_fence = [], [], False
    for line in text.split("\n"):
        in_fence ^= line.lstrip().startswith(("```", "~~~"))
        found = re.match(r"(#{1,6})\s+(.+?)\s*#*$", line) if is_marked and not in_fence else None
        if found is None:
            kept.append(line)
            continue
        yield 0, " › ".join(title for _, title in trail), "\n".join(kept)
        depth, kept = len(found[1]), []
        trail = [one for one in trail if one[0] < depth] + [(depth, found[2])]
    yield 0, " › ".join(title for _, title in trail), "\n".join(kept)


class Page(html.parser.HTMLParser):
    """The words of a page, in sections by its headings; what is not for reading is left out."""

    HIDDEN = {"script", "style", "noscript", "template", "svg", "nav", "footer", "iframe"}
    LINES = {"p", "div", "li", "tr", "br", "table", "ul", "ol", "section", "article", "pre", "blockquote", "dd", "dt"}

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list = []
        self.heading, self.kept, self.hidden, self.in_heading = "", [], 0, False

    def handle_starttag(self, tag, attributes):
        if tag in self.HIDDEN:
            self.hidden += 1
        elif re.fullmatch("h[1-6]", tag):
            self.sections.append((0, self.heading, "".join(self.kept)))
            self.heading, self.kept, self.in_heading = "", [], True
        elif tag in self.LINES:
            self.kept.append("\n")
        elif tag in ("td", "th"):
            self.kept.append(" | ")

    def handle_endtag(self, tag):
        if tag in self.HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        elif re.fullmatch("h[1-6]", tag):
            self.in_heading = False

    def handle_data(self, data):
        if self.hidden:
            return
        if self.in_heading:
            self.heading += data
        else:
            self.kept.append(data)


def read_html(text: str):
    page = Page()
    page.feed(text)
    page.close()
    for number, heading, kept in [*page.sections, (0, page.heading, "".join(page.kept))]:
        yield number, " ".join(heading.split()), kept


def pieces_of(text: str):
    """Paragraphs together up to LONGEST; what is longer is cut where sentences end. How far a line is moved in stays,
    because it says much in code."""
    text = re.sub(r"(?<=\S)[ \t\u00a0]+", " ", text.replace("\r\n", "\n").replace("\x00", " "))
    text = re.sub(r"\n\s*\n\s*", "\n\n", text).strip()
    while text:
        if len(text) <= LONGEST:
            yield text
            return
        cut = max(
            text.rfind("\n\n", LONGEST // 2, LONGEST),
            *(text.rfind(mark, LONGEST // 2, LONGEST) + 1 for mark in (". ", "? ", "! ", "。", "？", "！", "\n")),
        )
        cut = cut if cut > 0 else max(text.rfind(" ", LONGEST // 2, LONGEST), 0) or LONGEST
        yield text[:cut].strip()
        begin = max(0, cut - OVERLAP)
        space = text.find(" ", begin, cut)
        text = text[space + 1 if space >= 0 else cut :].strip() if cut > OVERLAP else text[cut:].strip()


if __name__ == "__main__":
    told = Path(sys.argv[3]).with_suffix(".pages")
    Path(sys.argv[3]).write_text(json.dumps(main(Path(sys.argv[1]), sys.argv[2], told, *sys.argv[4:])))
