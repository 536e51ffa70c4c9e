"""The plainest PDF there is, of any number of pages."""

from __future__ import annotations

from collections.abc import Sequence

LINE = 90


def pdf_of(pages: Sequence[str]) -> bytes:
    """Each page one text, which holds no brackets and no backslash, in lines."""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for at, text in enumerate(pages):
        lines = "".join(f"({text[begin : begin + LINE]}) Tj T* " for begin in range(0, len(text), LINE))
        stream = f"BT /F1 10 Tf 14 TL 50 760 Td {lines}ET".encode()
        page = f"/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents {5 + 2 * at} 0 R"
        objects.append(f"<</Type/Page/Parent 2 0 R{page}>>".encode())
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
    written, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(written))
        written += b"%d 0 obj%s\nendobj\n" % (number, body)
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        written += b"%010d 00000 n \n" % offset
    written += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(written)
