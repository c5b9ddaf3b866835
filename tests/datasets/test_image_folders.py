"""Folders of images as people have them: depths, formats, splits, strays."""

import collections
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.testing.scripts import run_script
from tff_pipeline import errors
from tff_pipeline.commands import prepare_data
from tff_pipeline.datasets.readers import image_folder, sqlite

DRAW = np.random.default_rng(0)
GRAY = DRAW.integers(0, 256, (6, 8), np.uint8)
COLOR = DRAW.integers(0, 256, (6, 8, 3), np.uint8)
ORIENTATION = 0x0112


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def fill(folder, *places, image=None, name="1.png"):
    """Saves one image at each place, such as "north/cat"."""
    image = Image.fromarray(GRAY) if image is None else image
    for place in places:
        save(image, folder / place / name)
    return folder


FOUR = ("north/cat", "north/dog", "south/cat", "south/dog")


@pytest.fixture
def photos(tmp_path):
    """Two clients, two classes, one gray image of each."""
    return fill(tmp_path / "photos", *FOUR)


def pixels(folder, **options):
    """Reads all; returns the pixels by path below the folder's clients."""
    rows, names, _ = image_folder.read(str(folder), **options)
    found = collections.defaultdict(list)
    for row in rows:
        found[f"{row.client_id}/{names[row.y]}"].append(row.x)
    return {place: images[0] for place, images in found.items()}


def notes(folder, **options):
    return image_folder.read(str(folder), **options).notes


def refused(folder, *words, **options):
    with pytest.raises(errors.PipelineError) as caught:
        list(image_folder.read(str(folder), **options).rows)
    for word in words:
        assert word in str(caught.value)


# Pixels.


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_images_are_scaled_by_the_depth_that_they_use(photos, bits):
    values = np.linspace(0, 2**bits - 1, 48).reshape(6, 8)
    deep = Image.fromarray(np.rint(values).astype(np.uint16))
    dim = Image.fromarray(np.rint(values / 10).astype(np.uint16))
    save(deep, photos / "north" / "cat" / "1.png")
    save(dim, photos / "north" / "dog" / "1.png")
    found = pixels(photos)
    exact = np.linspace(0, 255, 48).reshape(6, 8, 1)
    assert np.abs(found["north/cat"] - exact).max() < 1
    # All by one scale, and 8 bits stay as they are.
    assert np.abs(found["north/dog"] - exact / 10).max() < 1
    np.testing.assert_array_equal(found["south/cat"][..., 0], GRAY)
    assert notes(photos) == [
        f"2 images of more than 8 bits were scaled from {bits} bits to 8."
    ]


def test_values_that_no_depth_holds_are_refused(photos):
    path = photos / "north" / "cat" / "2.tif"
    for value in (-1, 2**16):
        save(Image.fromarray(np.full((6, 8), value, np.int32)), path)
        refused(photos, "2.tif", "whole numbers from 0 to 65535")
    save(Image.fromarray(np.full((6, 8), 0.5, np.float32)), path)
    refused(photos, "2.tif", "8 or 16 bits")
    save(Image.fromarray(np.full((6, 8), 65535, np.int32)), path)
    assert "from 16 bits" in notes(photos)[0]


def test_all_formats_in_one_folder_are_read(tmp_path):
    folder = tmp_path / "photos"
    formats = ("png", "PNG", "jpg", "JPEG", "bmp", "gif", "tif", "TIFF")
    formats += ("webp", "pgm", "ppm", "jfif")
    for number, ending in enumerate(formats):
        place = folder / ("north", "south")[number % 2]
        label = ("cat", "dog")[number // 2 % 2]
        name = f"{number}.{ending}"
        kind = {"jfif": "JPEG"}.get(ending)
        save(Image.fromarray(GRAY), place / label / name, format=kind)
    rows, _, remarks = image_folder.read(str(folder))
    assert len(list(rows)) == len(formats)
    assert not remarks


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA"])
def test_a_colour_image_makes_all_colour_whichever_comes_first(photos, mode):
    painted = Image.new("RGB", (8, 6), (255, 0, 0))
    options = {"compression": "raw"} if mode == "CMYK" else {}
    name = "2.tif" if mode == "CMYK" else "2.png"
    save(painted.convert(mode), photos / "south/cat" / name, **options)
    rows = list(image_folder.read(str(photos)).rows)
    assert {row.x.shape for row in rows} == {(6, 8, 3)}
    (red,) = (row.x for row in rows if (row.x[..., 0] != row.x[..., 1]).any())
    assert (red == [255, 0, 0]).all()


def test_a_cmyk_jpeg_is_not_inverted(photos):
    painted = Image.new("RGB", (8, 6), (250, 250, 10)).convert("CMYK")
    save(painted, photos / "north/cat/1.jpg", quality=100)
    (photos / "north/cat/1.png").unlink()
    found = pixels(photos)["north/cat"].astype(int)
    assert np.abs(found - [250, 250, 10]).max() < 12


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_what_is_transparent_is_white_and_counted(photos, mode):
    # A black cross that only its transparency shows.
    alpha = np.zeros((6, 8), np.uint8)
    alpha[2], alpha[:, 3] = 255, 255
    if mode == "P":
        image = Image.fromarray((alpha == 0).astype(np.uint8)).convert("P")
        image.putpalette([0, 0, 0, 9, 9, 9])
        options = {"transparency": 1}
    else:
        black = Image.new(mode[:-1], (8, 6))
        image, options = black.copy(), {}
        image.putalpha(Image.fromarray(alpha))
    save(image, photos / "north/cat/1.png", **options)
    np.testing.assert_array_equal(
        pixels(photos)["north/cat"][..., 0], 255 - alpha
    )
    assert notes(photos) == [
        "1 images have transparent parts, which became white."
    ]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_an_image_is_turned_as_its_exif_says(tmp_path, ending, turn):
    image = Image.fromarray(np.kron(GRAY, np.ones((8, 8), np.uint8)))
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    folder = fill(tmp_path, "a/x", "a/y", "b/x", image=image)
    for place in ("a/x", "a/y", "b/x"):
        (folder / place / "1.png").unlink()
        save(image, folder / place / f"1.{ending}", exif=exif)
    image.getexif()[ORIENTATION] = turn
    wanted = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    found = pixels(folder)["a/x"][..., 0].astype(int)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 3


def test_deep_images_are_turned_too(photos):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    deep = Image.fromarray(np.arange(48, dtype=np.uint16).reshape(8, 6) * 1000)
    save(deep, photos / "north/cat/1.png", exif=exif)
    found = pixels(photos)["north/cat"][..., 0]
    assert found.shape == (6, 8)
    assert (np.diff(found[:, 0]) > 0).all()
    assert (np.diff(found[0].astype(int)) < 0).all()


def test_damaged_exif_says_nothing(photos):
    jpeg = photos / "north/cat/1.jpg"
    save(Image.fromarray(GRAY), jpeg, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert len(list(image_folder.read(str(photos)).rows)) == 5


def test_several_pages_are_refused(photos):
    page = Image.fromarray(GRAY)
    path = photos / "north/cat/2.tif"
    save(page, path, save_all=True, append_images=[page, page])
    refused(photos, "2.tif holds 3 pictures or pages")


def test_postscript_under_another_name_is_not_run(photos):
    place = photos / "north/cat/2.png"
    place.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n")
    refused(photos, "2.png cannot be read as an image")


def test_colour_of_16_bits_is_read_and_half_used_depth_refused(photos):
    tf = pytest.importorskip("tensorflow")
    path = photos / "north/cat/1.png"
    values = np.tile(np.linspace(0, 65535, 8), (6, 1))[..., None]
    values = np.rint(np.repeat(values, 3, -1))
    for scale, reads in ((1, True), (1 / 16, False)):
        deep = (values * scale).astype(np.uint16)
        path.write_bytes(tf.io.encode_png(deep).numpy())
        if reads:
            found = pixels(photos)["north/cat"].astype(float)
            assert np.abs(found - values / 257).max() <= 1
        else:
            refused(photos, "only 12 are used", "8 bits a channel")


# Folders.


def splits(folder, **options):
    """Counts (split, client, class)."""
    rows, names, _ = image_folder.read(str(folder), **options)
    return collections.Counter((r.split, r.client_id, names[r.y]) for r in rows)


@pytest.mark.parametrize(
    "words", [("train", "test", "val"), ("Training", "TESTING", "Validation")]
)
@pytest.mark.parametrize("above", [True, False])
def test_splits_are_taken_as_splits(tmp_path, words, above):
    for number, split in enumerate(words):
        for place in FOUR:
            client, label = place.split("/")
            folders = [split, client] if above else [client, split]
            fill(tmp_path, "/".join([*folders, label]), name=f"{number}.png")
    found = splits(tmp_path)
    wanted = {
        (split, *place.split("/"))
        for split in ("train", "test", "validation")
        for place in FOUR
    }
    assert set(found) == wanted
    remarks = notes(tmp_path)
    assert "4 test, 4 train, 4 validation" in remarks[0]
    assert "4 images are in the split validation" in remarks[1]


def test_val_is_to_test_on_where_nothing_else_is(tmp_path):
    fill(tmp_path, *(f"{s}/{p}" for s in ("train", "val") for p in FOUR))
    assert {split for split, _, _ in splits(tmp_path)} == {"train", "test"}


def test_images_without_clients_are_a_question_or_dealt(tmp_path):
    for split, count in (("train", 12), ("test", 5)):
        for number in range(count):
            for label in ("cat", "dog"):
                fill(tmp_path, f"{split}/{label}", name=f"{number}.png")
    refused(tmp_path, "none of clients", "--num_clients=10")
    found = splits(tmp_path, num_clients=3)
    assert set(found.values()) == {4, 1, 2}
    for client in ("client_0", "client_1", "client_2"):
        for label in ("cat", "dog"):
            assert found["train", client, label] == 4
    assert sum(found.values()) == 34
    # The same images go to the same clients every time.
    again = [
        row.client_id for row in image_folder.read(str(tmp_path), None, 3)[0]
    ]
    assert again == [
        r.client_id for r in image_folder.read(str(tmp_path), None, 3)[0]
    ]


def test_classes_alone_are_a_question(tmp_path):
    fill(tmp_path, "cat", "dog")
    refused(tmp_path, "CLIENT/CLASS/*.png", "--num_clients")
    # Kinds of vehicles, no splits.
    fill(tmp_path, "train", "test")
    found = splits(tmp_path, num_clients=1)
    assert {label for _, _, label in found} == {"cat", "dog", "train", "test"}


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (["train/a", "test/a", "north/a", "north/b"], "splits or clients?"),
        (["a/train", "a/test", "b/train", "b/test"], "where its classes"),
        (["x/a/cat", "y/b/dog", "y/a/cat"], "which of them are clients"),
        (["train/test/a/x", "test/train/b/y"], "on 2 levels"),
        (["test/a/cat", "val/a/dog"], "none is named train"),
        (["photos/a", "photos/b"], "one client only, 'photos'"),
        (["a/cat", "b/Cat", "b/dog"], "capitals"),
        (["a/caf\u00e9", "b/cafe\u0301", "b/dog"], "accents"),
        (["a/cat", "b/cat"], "one class only"),
        (["a/cat", "b/dog", "b/c/dog"], "but 1 under more"),
        (["."], "no folders of classes"),
    ],
)
def test_folders_that_cannot_be_told_are_a_question(tmp_path, places, words):
    refused(fill(tmp_path / "in", *places), words)


def test_clients_that_folders_name_are_not_dealt(photos):
    refused(photos, "--num_clients=3", "2 of them", num_clients=3)


def test_what_is_left_out_is_counted(photos):
    (photos / "north/cat/note.txt").write_text("Anna Smith")
    (photos / "north/cat/1.dcm").write_bytes(b"DICM")
    (photos / "north/cat/2.HEIC").write_bytes(b"ftyp")
    (photos / "north/.hidden.png").write_bytes(b"")
    for number in range(20):
        save(Image.fromarray(GRAY), photos / f"south/dog/{number}.png")
    save(Image.fromarray(GRAY), photos / "preview.png")
    remarks = notes(photos)
    assert remarks == [
        "Left out: 1 images under more or fewer folders than the others.",
        "Left out: 1 .dcm files, 1 .heic files, 1 files that are no images.",
    ]
    assert "Smith" not in "".join(remarks)


def test_pictures_that_are_not_read_are_no_table(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"DICM")
    assert image_folder.has_images(str(tmp_path))
    refused(tmp_path, "1 .dcm files; convert them to .png")


def test_a_table_beside_a_picture_is_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    fill(tmp_path, "plots")
    assert not image_folder.has_images(str(tmp_path))
    fill(tmp_path, *FOUR)
    assert image_folder.has_images(str(tmp_path))


def test_a_folder_that_cannot_be_read_is_refused(photos):
    if os.getuid() == 0:
        (photos / "loop").symlink_to(photos)
        refused(photos, "under more or fewer")
        return
    (photos / "north").chmod(0)
    refused(photos, "cannot be searched")


def test_splits_are_in_the_file_and_remarks_are_printed(tmp_path):
    source, output = tmp_path / "chest", tmp_path / "chest.sqlite"
    deep = Image.fromarray(GRAY.astype(np.uint16) * 16)
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            for number in range(4):
                fill(
                    source, f"{split}/{label}", image=deep, name=f"{number}.png"
                )
    done = run_script(
        "prepare_data.py",
        f"--input={source}",
        f"--output={output}",
        "--num_clients=2",
    )
    assert done.returncode == 0, done.stderr
    assert "16 examples of 2 clients" in done.stdout
    assert "8 test, 8 train" in done.stdout
    assert "scaled from 12 bits" in done.stdout
    sizes = sqlite.Database(str(output)).sizes
    assert {split: sum(s.values()) for split, s in sizes.items()} == {
        "train": 8,
        "test": 8,
    }


def test_num_clients_is_for_images(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("x,y\n1,2\n")
    with pytest.raises(errors.ConfigError, match="--num_clients=3"):
        prepare_data.write(str(source), str(tmp_path / "o"), {}, num_clients=3)
