"""Guess in which of the older encodings a text was written. Runs confined and by path: `texts.py IN`; prints JSON:
`{"charset": NAME}`, '' when it is no text."""

import codecs
import json
import re
import sys
from pathlib import Path

try:
    import charset_normalizer as library
except ImportError:  # the extra `charsets`; without it the encodings of our own languages are told apart
    HAS_LIBRARY = False
else:
    HAS_LIBRARY = True

SAMPLE_BYTES = 262_144
PAIRED = re.compile(rb"(?:[\x81-\xfe][\x40-\x7e\x80-\xfe])+")


def main(source: Path) -> dict[str, str]:
    data = source.read_bytes()
    sample = data[:SAMPLE_BYTES]
    encoding = guess_any(sample) if HAS_LIBRARY else guess_ours(sample)
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError):
        return {"charset": ""}
    odd = sum(1 for character in text[:SAMPLE_BYTES] if ord(character) < 32 and character not in "\t\n\r\f\x1b")
    return {"charset": "" if odd else codecs.lookup(encoding).name}


def guess_any(sample: bytes) -> str:
    best = library.from_bytes(sample, threshold=0.3).best()
    return best.encoding if best else ""


def guess_ours(sample: bytes) -> str:
    """Chinese stands in runs of pairs of high bytes; in Western text a high byte stands among letters."""
    runs = PAIRED.findall(sample)
    paired = sum(len(run) for run in runs if sum(byte >= 0x80 for byte in run) >= 3)
    high = sum(byte >= 0x80 for byte in sample)
    return "gb18030" if high and paired > high * 0.8 else "cp1252"


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
