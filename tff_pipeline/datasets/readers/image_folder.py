"""Reads images from folders of clients, which hold folders of classes."""

import collections
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from tff_pipeline import errors, randomness
from tff_pipeline.datasets.readers import image_file, image_levels
from tff_pipeline.datasets.readers.image_levels import Place
from tff_pipeline.datasets.readers.sqlite_writer import Row

# Pictures that are not read, but named where they are left out.
_UNREAD = (
    *(".dcm", ".dicom", ".nii", ".heic", ".heif", ".avif", ".svg", ".eps"),
    *(".psd", ".svs", ".mha", ".nrrd", ".dng", ".raw", ".ico"),
)
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
# Deeper folders are not searched: links among them may lead in a circle.
_DEEPEST = 6
# More images than this share in other places are no strays.
_FEW = 0.1


class Images(NamedTuple):
    """Images as examples.

    Attributes:
      rows: The examples; each is read when the iterator comes to it.
      class_names: The classes' names, sorted.
      notes: Sentences for the user: what was left out or changed.
    """

    rows: Iterator[Row]
    class_names: list[str]
    notes: list[str]


class _Files(NamedTuple):
    """A folder's files.

    Attributes:
      images: (names of the folders above it, path) of each image, sorted.
      others: Ending -> the number of files that are not read; "" for those
        that are no known kind of picture.
    """

    images: list[tuple[tuple[str, ...], str]]
    others: collections.Counter[str]


def has_images(path: str) -> bool:
    """Returns whether a folder is one of images, rather than of a table.

    Args:
      path: The folder.
    """
    files = _search(path)
    pictures = any(files.others[ending] for ending in _UNREAD)
    if any(name.lower().endswith(_TABLES) for name in os.listdir(path)):
        return any(len(folders) > 1 for folders, _ in files.images)
    return bool(files.images) or pictures


def read(
    path: str,
    size: Optional[Sequence[int]] = None,
    num_clients: Optional[int] = None,
) -> Images:
    """Finds images, and looks at each; they are read when their turn comes.

    Args:
      path: A folder CLIENT/CLASS of images; folders of splits may lie above
        either level, see `image_levels.places`.
      size: Height and width in pixels that all images are scaled to; by
        default all must have the size of the first one.
      num_clients: The number of clients that images are dealt to, where no
        folder names clients.

    Returns:
      The examples. `x` is uint8 [height, width, channels], see
      `image_file.read`; `y` is int32 [], the class's place among the names.

    Raises:
      ConfigError: If `num_clients` is given although folders name clients.
      DataError: If folders cannot be told, there are fewer than two classes or
        clients, or an image is damaged; while reading, if one is of another
        size.
    """
    files = _search(path)
    if not files.images:
        raise errors.DataError(
            f"{path} has no images that are read here, but "
            f"{_counts(files.others)}; convert them to .png."
        )
    images, strays = _at_one_depth(path, files.images)
    places = image_levels.places(path, [folders for folders, _ in images])
    paths = [file for _, file in images]
    names = sorted({place.label for place in places})
    if len(names) < 2:
        raise errors.DataError(
            f"{path} has images of one class only, {names[0]!r}; there is "
            "nothing to learn: name its files CLIENT/CLASS/*.png or *.jpg."
        )
    places = _with_clients(path, places, num_clients)
    common = image_file.survey(paths)
    notes = _notes(files.others, strays, places, common)
    return Images(_rows(places, paths, common, size, names), names, notes)


def _search(path: str) -> _Files:
    files = _Files([], collections.Counter())
    try:
        _add(path, (), files)
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be searched for images ({error}); make all its "
            "folders readable."
        ) from None
    return files


def _add(path: str, folders: tuple[str, ...], files: _Files) -> None:
    for name in sorted(os.listdir(path)):
        place = os.path.join(path, name)
        if name.startswith("."):
            continue
        if os.path.isdir(place):
            if len(folders) < _DEEPEST:
                _add(place, (*folders, name), files)
            continue
        ending = os.path.splitext(name)[1].lower()
        if ending in image_file.ENDINGS:
            files.images.append((folders, place))
        else:
            files.others[ending if ending in _UNREAD else ""] += 1


def _at_one_depth(
    path: str, images: list[tuple[tuple[str, ...], str]]
) -> tuple[list[tuple[tuple[str, ...], str]], int]:
    """Returns images under as many folders as most are, the others' count."""
    depths = collections.Counter(len(folders) for folders, _ in images)
    depth = max(depths, key=lambda each: (depths[each], each))
    strays = len(images) - depths[depth]
    if strays > _FEW * len(images):
        example = next(file for names, file in images if len(names) != depth)
        raise errors.DataError(
            f"{path} has {depths[depth]} images under {depth} levels of "
            f"folders, but {strays} under more or fewer, such as {example}; "
            "put all at the same level, or remove what does not belong."
        )
    return [each for each in images if len(each[0]) == depth], strays


def _with_clients(
    path: str, places: list[Place], num_clients: Optional[int]
) -> list[Place]:
    clients = {place.client for place in places}
    if clients == {None}:
        if num_clients is None:
            raise errors.DataError(
                f"{path} has folders of classes but none of clients; put those "
                "of each client into a folder of its name "
                "(CLIENT/CLASS/*.png), or deal the images to clients with "
                "--num_clients=10."
            )
        return _dealt(places, num_clients)
    if num_clients is not None:
        raise errors.ConfigError(
            f"--num_clients={num_clients} is for images without folders of "
            f"clients, but {path} has {len(clients)} of them; leave it out."
        )
    if len(clients) == 1:
        (client,) = clients
        raise errors.DataError(
            f"{path} has images of one client only, {client!r}; if that folder "
            "just holds all others, name it in --input."
        )
    return places


def _dealt(places: list[Place], num_clients: int) -> list[Place]:
    """Deals shuffled images to clients, every class and split in turn."""
    draw = randomness.generator(0, "images")
    shuffled = draw.permutation(len(places)).tolist()
    shuffled.sort(key=lambda each: (places[each].split, places[each].label))
    width = len(str(num_clients - 1))
    dealt = list(places)
    for turn, each in enumerate(shuffled):
        name = f"client_{turn % num_clients:0{width}d}"
        dealt[each] = places[each]._replace(client=name)
    return dealt


def _notes(
    others: collections.Counter[str],
    strays: int,
    places: list[Place],
    common: image_file.Survey,
) -> list[str]:
    splits = collections.Counter(place.split for place in places)
    notes = []
    if len(splits) > 1:
        counts = ", ".join(f"{splits[name]} {name}" for name in sorted(splits))
        notes.append(f"Folders named like splits were taken as such: {counts}.")
    if splits["validation"]:
        notes.append(
            f"{splits['validation']} images are in the split validation, on "
            "which --target_metric chooses; they neither train nor are tested "
            "on."
        )
    if common.deep:
        notes.append(
            f"{common.deep} images of more than 8 bits were scaled from "
            f"{common.bits} bits to 8."
        )
    if common.transparent:
        notes.append(
            f"{common.transparent} images have transparent parts, which became "
            "white."
        )
    if strays:
        notes.append(
            f"Left out: {strays} images under more or fewer folders than the "
            "others."
        )
    if others:
        notes.append(f"Left out: {_counts(others)}.")
    return notes


def _counts(others: collections.Counter[str]) -> str:
    kinds = [f"{others[e]} {e} files" for e in sorted(others) if e]
    if others[""]:
        kinds.append(f"{others['']} files that are no images")
    return ", ".join(kinds)


def _rows(
    places: Sequence[Place],
    paths: Sequence[str],
    common: image_file.Survey,
    size: Optional[Sequence[int]],
    names: Sequence[str],
) -> Iterator[Row]:
    first = None
    for place, path in zip(places, paths):
        x = image_file.read(path, common, size)
        if first is None:
            first = (path, x.shape)
        if x.shape != first[1]:
            raise errors.DataError(
                f"{path} is of {x.shape[0]}x{x.shape[1]} pixels, but "
                f"{first[0]} of {first[1][0]}x{first[1][1]}; scale all to one "
                "size with --image_size."
            )
        y = np.array(names.index(place.label), np.int32)
        yield Row(str(place.client), place.split, x, y)
