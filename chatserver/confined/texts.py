"""Guess in which of the older encodings a text was written. Runs confined and by path: `texts.py IN`; prints JSON:
`{"charset": NAME}`, '' when it is no text."""

import codecs
import json
import sys
from pathlib import Path

from charset_normalizer import from_bytes

SAMPLE_BYTES = 262_144


def main(source: Path) -> dict[str, str]:
    data = source.read_bytes()
    best = from_bytes(data[:SAMPLE_BYTES], threshold=0.3).best()
    if best is None:
        return {"charset": ""}
    try:
        text = data.decode(best.encoding)
    except (UnicodeError, LookupError):
        return {"charset": ""}
    odd = sum(1 for character in text[:SAMPLE_BYTES] if ord(character) < 32 and character not in "\t\n\r\f\x1b")
    return {"charset": "" if odd else codecs.lookup(best.encoding).name}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
