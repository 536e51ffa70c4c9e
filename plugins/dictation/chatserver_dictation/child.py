"""The listening process: `python -m chatserver_dictation.child MODEL THREADS SHA256`. It ends when its standard input
does."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

from chatserver_dictation.lines import Failed, Hear, Heard, Ready, Said, decode_order, encode

RATE_HZ = 16_000
MEMORY_BYTES = 6 * 1024**3
"""Of addresses, not of memory: the libraries reserve much that they never touch."""
CONTAINERS = "wav,w64,aiff,caf,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,flac,aac,amr"
"""Files that hold sound and name no other file: a play list would have us open what somebody else chose."""
NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER of linux/sched.h
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h


class Unheard(Exception):
    """reason: as in Failed."""

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(told)
        self.reason = reason


def lock_in() -> None:
    """Recordings come from strangers: no network, no new files, no new rights. A system that knows less takes less."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    with contextlib.suppress(OSError, AttributeError):
        system = ctypes.CDLL(None, use_errno=True)
        system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if system.unshare(NEW_NETWORK) != 0:
            system.unshare(NEW_USER | NEW_NETWORK)
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))


def samples_of(path: str, most_s: float) -> Any:
    """The recording as numpy floats, one channel. Raises Unheard."""
    import av
    import numpy

    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    pieces: list[Any] = []
    count = 0
    try:
        with open(path, "rb") as file, av.open(file, container_options={"format_whitelist": CONTAINERS}) as recording:
            if not recording.streams.audio:
                raise Unheard("silent")
            for frame in recording.decode(recording.streams.audio[0]):
                for made in resampler.resample(frame):
                    pieces.append(made.to_ndarray().reshape(-1))
                    count += pieces[-1].size
                if count > most_s * RATE_HZ:
                    raise Unheard("long")
            pieces += [made.to_ndarray().reshape(-1) for made in resampler.resample(None)]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Unheard("unreadable", str(error)) from error
    if not count:
        raise Unheard("silent")
    return numpy.concatenate(pieces).astype(numpy.float32) / 32768.0


def write_down(model: Any, order: Hear) -> Heard:
    """Raises Unheard."""
    samples = samples_of(order.path, order.most_s)
    language = order.language if order.language in model.supported_languages else None
    found, told = model.transcribe(
        samples, language=language, initial_prompt=order.prompt or None, beam_size=3, vad_filter=len(samples) > RATE_HZ
    )
    pieces = tuple(Said(round(one.start, 2), round(one.end, 2), one.text) for one in found)
    return Heard(told.language, round(len(samples) / RATE_HZ, 3), pieces)


def load(place: str, threads: int, sha256: str) -> Any:
    """place: a folder with a model, or several that hold a piece of it each; of those the weights' sum is asked for."""
    from faster_whisper import WhisperModel

    folders = [Path(folder) for folder in place.split(os.pathsep)]
    files = joined(folders, sha256) if len(folders) > 1 else None
    return WhisperModel(
        str(folders[0]), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True, files=files
    )


def joined(folders: list[Path], sha256: str) -> dict[str, bytes]:
    """A model's files by name, its weights out of their pieces. Raises ValueError when those are others."""
    files = {
        file.name: file.read_bytes()
        for folder in folders
        for file in folder.iterdir()
        if file.suffix in (".json", ".txt")
    }
    pieces = sorted(file for folder in folders for file in folder.glob("model.bin.part*"))
    files["model.bin"] = b"".join(file.read_bytes() for file in pieces)
    if hashlib.sha256(files["model.bin"]).hexdigest() != sha256:
        raise ValueError("the weights are not those they should be")
    return files


def main() -> None:
    place, threads, sha256 = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    # What native code prints must not come between our lines.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lock_in()
    try:
        model = load(place, threads, sha256)
    except Exception as error:  # whatever it was, the server is told
        out.write(encode(Failed("model", str(error) or type(error).__name__)) + b"\n")
        os._exit(1)
    out.write(encode(Ready()) + b"\n")
    for line in sys.stdin.buffer:
        answer: Heard | Failed
        try:
            answer = write_down(model, decode_order(line))
        except Unheard as error:
            answer = Failed(error.reason, str(error))
        except Exception as error:  # the library's faults are told, not died of
            answer = Failed("model", str(error) or type(error).__name__)
        out.write(encode(answer) + b"\n")
    os._exit(0)  # the server is gone, or wants this process gone: native threads are not waited for


if __name__ == "__main__":
    main()
