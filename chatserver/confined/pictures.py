"""Write a picture anew, without anything it carried besides its pixels, and the smaller ones made from it.

Runs confined and by path: `pictures.py IN OUT_FOLDER`. Prints JSON: `{"pieces": [{kind, file, media_type, width,
height}…]}`, the first of them the picture itself, or `{"refused": CODE}`.
"""

import contextlib
import errno
import io
import json
import sys
from pathlib import Path

from PIL import Image, ImageCms, ImageOps, ImageSequence, UnidentifiedImageError

PIXELS_MAX = 40_000_000
MOVING_PIXELS_MAX = 40_000_000
"""Of all pictures of an animation added up; one with more stands still."""
FRAMES_MAX = 500
THUMBNAIL_PX = 512
MODEL_PX = 2048
"""The longest side models are sent: the vendors we know of shrink anything larger by themselves."""
MODEL_BYTES = 4_000_000
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
READ = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"]
"""Formats that are opened; the many others Pillow knows are not."""
LARGE_PIXELS = 12_000_000
"""Beyond so many the quick and plain ways of writing are taken: the thorough ones need as much room again."""


def main(source: Path, folder: Path) -> dict[str, object]:
    Image.MAX_IMAGE_PIXELS = PIXELS_MAX
    try:
        with Image.open(source, formats=READ) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                return {"refused": "too_many_pixels"}
            came_as = str(opened.format)
            moving = write_moving(opened, folder) if is_moving(opened) else None
            opened.seek(0)
            opened.load()
            picture = upright(opened)
            pieces = [moving or write_still(picture, came_as, folder), write_thumbnail(picture, folder)]
            written_bytes = (folder / str(pieces[0]["file"])).stat().st_size
            is_fit = moving is None and pieces[0]["media_type"] in ("image/png", "image/jpeg")
            if not is_fit or max(picture.size) > MODEL_PX or written_bytes > MODEL_BYTES:
                pieces.append(write_for_models(picture, folder))
            return {"pieces": pieces}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return {"refused": "too_many_pixels"}
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
    ) as error:
        if getattr(error, "errno", None) in NO_ROOM:
            return {"refused": "no_room"}
        return {"refused": "damaged_picture"}  # each of Pillow's readers has its own word for it


def is_moving(opened: Image.Image) -> bool:
    frames = getattr(opened, "n_frames", 1)
    if opened.format not in ("GIF", "WEBP") or not 1 < frames <= FRAMES_MAX:
        return False
    return frames * opened.width * opened.height <= MOVING_PIXELS_MAX


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its camera was held, in the colours every screen knows; in place, for there is room for two at most."""
    ImageOps.exif_transpose(picture, in_place=True)
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "RGBA"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            theirs, ours = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            ImageCms.profileToProfile(picture, theirs, ours, inPlace=True)
    if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        return picture
    return picture.convert("RGBA" if picture.mode in ("PA", "RGBa", "La") else "RGB")


def is_see_through(picture: Image.Image) -> bool:
    return picture.has_transparency_data


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)


def shrunk(picture: Image.Image, longest_px: int) -> Image.Image:
    """As red, green and blue, with what shows through where something does, no side longer than this."""
    full = in_mode(picture, "RGBA" if is_see_through(picture) else "RGB")
    scale = longest_px / max(full.size)
    if scale >= 1:
        return full.copy()
    size = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))
    return full.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def write_still(picture: Image.Image, came_as: str, folder: Path) -> dict[str, object]:
    is_large = picture.width * picture.height > LARGE_PIXELS
    if came_as in ("JPEG", "MPO") or (came_as == "AVIF" and not is_see_through(picture)):
        grey = picture.mode == "L"
        return write(
            picture if grey else in_mode(picture, "RGB"), "JPEG", "", folder, quality=90, progressive=not is_large
        )
    if came_as == "WEBP" and not is_large:
        mode = "RGBA" if is_see_through(picture) else "RGB"
        return write(in_mode(picture, mode), "WEBP", "", folder, quality=90, method=2)
    return write(picture, "PNG", "", folder, compress_level=3 if is_large else 6)


def write_moving(opened: Image.Image, folder: Path) -> dict[str, object]:
    frames, times = [], []
    for frame in ImageSequence.Iterator(opened):
        frames.append(frame.convert("RGBA"))
        times.append(max(20, int(opened.info.get("duration", 100) or 100)))
    more: dict[str, object] = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
    if opened.format == "GIF":
        more["disposal"] = 2
    else:
        more.update(quality=80, method=0)
    return write(frames[0], str(opened.format), "", folder, **more)


def write_thumbnail(picture: Image.Image, folder: Path) -> dict[str, object]:
    return write(shrunk(picture, THUMBNAIL_PX), "WEBP", "thumbnail", folder, quality=80, method=4)


def write_for_models(picture: Image.Image, folder: Path) -> dict[str, object]:
    """What every model that sees can read, no larger than it looks at."""
    small = shrunk(picture, MODEL_PX)
    if small.mode == "RGBA":
        return write(small, "PNG", "model", folder)
    return write(small, "JPEG", "model", folder, quality=85, progressive=True)


def write(picture: Image.Image, form: str, kind: str, folder: Path, **how: object) -> dict[str, object]:
    name = kind or "picture"
    # a writer would pass on what the reader found: profiles, comments, places
    picture.info = {name: value for name, value in picture.info.items() if name == "transparency"}
    picture.save(folder / name, form, **how)
    width, height = picture.size
    return {"kind": kind, "file": name, "media_type": f"image/{form.lower()}", "width": width, "height": height}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
