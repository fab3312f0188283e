"""Labelled images for a residual network: files in a folder for each class, or arrays (NPZ)."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.dims import CnnDims
from bench.errors import UsageError
from workloads import Own
from workloads.own import files, rows
from workloads.own.rows import LeftOut, Sample
from workloads.weights import Arrays

FORMATS = ("PNG", "JPEG")
MODES = {1: "L", 3: "RGB"}
"""Pillow's name of so many channels."""
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
MOST_BYTES = 4 << 30
"""Of prepared images: while they are made, three copies are in memory."""
ARRAYS = ("images", "labels")


def of_folder(own: Own, dims: CnnDims) -> tuple[Arrays, LeftOut]:
    """train.* and test.* of image float32 [N, channels, image, image] from -1 to 1 and label int64
    [N]; and what was left out.
    """
    folder = Path(own.paths["images"])
    if dims.channels not in MODES:
        raise UsageError(
            f"images in files have 1 or 3 channels: [dims] channels is {dims.channels}"
        )
    paths = files.within(folder)
    _check_room(len(paths), dims)
    left_out = LeftOut(folder.name, total=len(paths))
    samples = list(_decoded(folder, paths, own, dims=dims, left_out=left_out))
    return _split(samples, own, dims, left_out)


def of_arrays(own: Own, dims: CnnDims) -> tuple[Arrays, LeftOut]:
    """The same of an NPZ file: images uint8, 0 to 255, or float, taken as they are, [N, H, W, C],
    [N, C, H, W] or, of one channel, [N, H, W]; and labels [N], numbers or texts.
    """
    path = Path(own.paths["images"])
    images, labels = _arrays(path)
    _check_room(len(images), dims)
    images = _channels_first(path, images, dims)
    left_out = LeftOut(path.name, total=len(images))
    samples = []
    for at, (image, value) in enumerate(zip(images, labels.tolist(), strict=True)):
        label = rows.label_of(value)
        made = _scaled(image)
        if why := rows.bad_label(label, own.options["classes"]):
            left_out.add(f"image {at}", why)
        elif not np.isfinite(made).all():
            left_out.add(f"image {at}", "pixels that are not finite")
        else:
            key = hashlib.sha256(made.astype("<f4").tobytes()).digest()
            samples.append(Sample(f"image {at}", label, key, made))
    return _split(samples, own, dims, left_out)


def _split(
    samples: list[Sample], own: Own, dims: CnnDims, left_out: LeftOut
) -> tuple[Arrays, LeftOut]:
    rows.usable(samples, left_out)
    labels = [one.label for one in samples]
    label = rows.classes(left_out.what, labels, own, limit=dims.classes)
    arrays = {"image": np.stack([one.content for one in samples]), "label": label}
    return rows.split(samples, arrays, own), left_out


def _check_room(count: int, dims: CnnDims) -> None:
    if (size := count * dims.channels * dims.image**2 * 4) > MOST_BYTES:
        raise UsageError(
            f"{count} images of {dims.image} x {dims.image} take {size >> 30} GiB: a part of them "
            f"is enough to measure with, at most {MOST_BYTES >> 30} GiB"
        )


def _scaled(image: np.ndarray) -> np.ndarray:
    """float32; 0 to 255 becomes -1 to 1."""
    if image.dtype == np.uint8:
        return (image.astype(np.float64) / 127.5 - 1).astype(np.float32)
    return image.astype(np.float32)


def _decoded(
    folder: Path, paths: list[Path], own: Own, *, dims: CnnDims, left_out: LeftOut
) -> Iterator[Sample]:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        label, _, rest = name.partition("/")
        if not rest or path.is_dir():
            left_out.add(name, "not a file in the folder of a class")
        elif why := rows.bad_label(label, own.options["classes"]):
            left_out.add(name, why)
        elif isinstance(made := _image(path, dims), str):
            left_out.add(name, made)
        else:
            # Of the file: what is decoded from a JPEG may differ between versions of the reader.
            key = hashlib.sha256(path.read_bytes()).digest()
            yield Sample(name, label, key, made)


def _image(path: Path, dims: CnnDims) -> np.ndarray | str:
    """float32 [channels, image, image]: turned as the camera says, the middle square, resized; or
    why not.
    """
    # Here: most pilots have no image files, and the process that measures should stay small.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in EIGHT_BITS:
                return f"more than 8 bits a channel (mode {image.mode})"
            turned = ImageOps.exif_transpose(image).convert(MODES[dims.channels])
            square = ImageOps.fit(turned, (dims.image, dims.image), Image.Resampling.BILINEAR)
    except UnidentifiedImageError:
        return "neither a PNG nor a JPEG image"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be decoded: {error}"
    pixels = np.asarray(square).reshape(dims.image, dims.image, dims.channels)
    return _scaled(pixels.transpose(2, 0, 1))


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Opened here: of a torn file numpy would leave it open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found: Any = [file[name] for name in ARRAYS]
    except KeyError as error:
        raise UsageError(f"{path.name} lacks an array: it needs {' and '.join(ARRAYS)}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise UsageError(f"{path.name} cannot be read as NPZ without pickles: {error}") from error
    images, labels = found
    if labels.ndim != 1 or len(labels) != len(images):
        raise UsageError(
            f"{path.name}: labels {labels.shape} do not belong to images {images.shape}: one each"
        )
    if labels.dtype.kind not in "iufUb":
        raise UsageError(f"{path.name}: labels are {labels.dtype}: numbers or texts are understood")
    return images, labels


def _channels_first(path: Path, images: np.ndarray, dims: CnnDims) -> np.ndarray:
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UsageError(f"{path.name}: images are {images.dtype}: uint8 or float is understood")
    side, channels = dims.image, dims.channels
    if images.shape[1:] == (side, side) and channels == 1:
        return images[:, None]
    if images.shape[1:] == (side, side, channels):
        return np.moveaxis(images, -1, 1)
    if images.shape[1:] == (channels, side, side):
        return images
    raise UsageError(
        f"{path.name}: images are {images.shape}, but [dims] says image = {side} and channels = "
        f"{channels}: change these, or the images"
    )
