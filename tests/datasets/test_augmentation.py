"""Augmented examples keep shape and type, and are a function of the draw."""

import numpy as np
import pytest

from tff_pipeline import errors
from tff_pipeline.datasets.federation import augmentation
from tff_pipeline.datasets.federation.federated_data import Examples

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), np.uint8)
WAVES = np.random.default_rng(1).integers(-9000, 9000, (5, 800), np.int16)
CASES = [("image", IMAGES, name) for name in augmentation.IMAGE] + [
    ("audio", WAVES, name) for name in augmentation.AUDIO
]


def augmented(x, names, suitable, seed=0):
    examples = Examples(x, np.arange(len(x)))
    draw = np.random.default_rng(seed)
    result = augmentation.of(names, suitable)(examples, draw)
    np.testing.assert_array_equal(result.y, examples.y)
    return result.x


@pytest.mark.parametrize(("kind", "x", "name"), CASES)
def test_a_change_keeps_shape_and_type_and_repeats(kind, x, name):
    suitable = {"image": augmentation.IMAGE, "audio": augmentation.AUDIO}[kind]
    before = x.copy()
    once = augmented(x, name, suitable)
    assert once.shape == x.shape
    assert once.dtype == x.dtype
    np.testing.assert_array_equal(once, augmented(x, name, suitable))
    assert (once != augmented(x, name, suitable, seed=1)).any()
    assert (once != x).any()
    np.testing.assert_array_equal(x, before)


def test_without_names_nothing_changes():
    assert augmented(IMAGES, None, augmentation.IMAGE) is IMAGES


def test_shift_moves_by_a_tenth_at_most():
    image = np.zeros((50, 20, 20, 1), np.uint8)
    image[:, 10, 10] = 255
    moved = augmented(image, "shift", augmentation.IMAGE)
    assert (moved.sum((1, 2, 3)) == 255).all()
    places = np.argwhere(moved)[:, 1:3]
    assert places.min() == 8
    assert places.max() == 12


def test_shift_moves_even_the_smallest_images():
    image = np.zeros((50, 8, 8, 1), np.uint8)
    image[:, 4, 4] = 255
    places = np.argwhere(augmented(image, "shift", augmentation.IMAGE))[:, 1:3]
    assert set(map(tuple, places)) == {
        (row, column) for row in (3, 4, 5) for column in (3, 4, 5)
    }


def test_a_flat_image_stays_flat_when_cropped_and_rotated():
    flat = np.full((4, 16, 16, 1), 77, np.uint8)
    for name in ("crop", "rotate"):
        assert (augmented(flat, name, augmentation.IMAGE) == 77).all()


def test_rotation_turns_about_the_middle():
    image = np.zeros((20, 31, 31, 1), np.uint8)
    image[:, 14:17, 14:17] = 200
    turned = augmented(image, "rotate", augmentation.IMAGE)
    assert (turned[:, 15, 15] == 200).all()


def test_noise_has_the_stated_size():
    wave = np.zeros((1, 200_000), np.float32)
    wave[0, 0] = 10.0
    noisy = augmented(wave, "noise", augmentation.AUDIO)
    assert np.std(noisy[0, 1:]) == pytest.approx(0.5, rel=0.02)


def test_noise_is_as_loud_as_its_own_example_asks():
    waves = np.zeros((3, 50_000), np.int16)
    waves[1, 0], waves[2, 0] = -32768, 1000
    noisy = augmented(waves, "noise", augmentation.AUDIO)
    assert not noisy[0].any()
    assert np.std(noisy[1, 1:]) == pytest.approx(0.05 * 32768, rel=0.02)
    assert np.std(noisy[2, 1:]) == pytest.approx(50, rel=0.02)


def test_time_mask_silences_one_stretch_of_a_fifth_at_most():
    masked = augmented(
        np.ones((200, 100), np.float32), "time_mask", ["time_mask"]
    )
    widths = (masked == 0).sum(1)
    assert widths.max() == 20
    assert widths.min() == 0
    # One stretch: at most one step down and one up.
    assert (np.abs(np.diff(masked, axis=1)).sum(1) <= 2).all()


def test_a_change_that_does_not_suit_is_refused_by_name():
    with pytest.raises(errors.ConfigError) as caught:
        augmentation.of("shift,time_mask", augmentation.IMAGE)
    assert "--augment=shift,time_mask: time_mask does not suit" in str(
        caught.value
    )
    with pytest.raises(errors.ConfigError, match="none"):
        augmentation.of("shift", ())
