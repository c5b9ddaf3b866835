"""Changes drawn in the graph: as NumPy's in distribution, pure in the key."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import ndimage, stats

from tests.testing import augmentation_oracle as oracle
from tff_pipeline import errors
from tff_pipeline.datasets.federation import augmentation
from tff_pipeline.runtime.in_process import InProcessContext

KEY = np.array([3, 14], np.int64)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), np.uint8)
WAVES = np.random.default_rng(1).integers(-9000, 9000, (5, 800), np.int16)
ALLOWED = {"image": augmentation.IMAGE, "audio": augmentation.AUDIO}
CASES = [
    (kind, x.astype(dtype), name)
    for kind, x, dtypes in (
        ("image", IMAGES, (np.uint8, np.float32, np.float64)),
        ("audio", WAVES, (np.int16, np.float32)),
    )
    for dtype in dtypes
    for name in ALLOWED[kind]
]
# Seeds are fixed, so that a test passes always or never; draws of the right
# distribution fall below this with one seed in a hundred.
LEAST_P = 0.01
DRAWS = 4000


def changed(x, names, key=KEY):
    """The examples after the changes, drawn eagerly."""
    allowed = ALLOWED["audio" if x.ndim == 2 else "image"]
    return augmentation.build(names, allowed)(
        tf.constant(x), tf.constant(key)
    ).numpy()


def by_oracle(x, name):
    return getattr(oracle, name)(x, np.random.default_rng(2718))


def assert_alike(drawn, expected):
    """Asserts that two samples of numbers come from one distribution."""
    assert stats.ks_2samp(drawn, expected).pvalue > LEAST_P


def assert_unrelated(first, second):
    assert stats.spearmanr(first, second).pvalue > LEAST_P


# A function of examples and key.


@pytest.mark.parametrize(("kind", "x", "name"), CASES)
def test_a_change_keeps_shape_and_type_and_is_one_of_its_key(kind, x, name):
    once = changed(x, name)
    assert (once.shape, once.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(once, changed(x, name))
    for other in ([3, 15], [4, 14]):
        assert (changed(x, name, np.array(other, np.int64)) != once).any()
    assert (once != x).any()
    assert changed(x[:1], name).shape == x[:1].shape


@pytest.mark.parametrize(("kind", "x", "name"), CASES)
def test_a_session_a_function_and_eager_execution_give_the_same_bits(
    kind, x, name
):
    augment = augmentation.build(name, ALLOWED[kind])
    eager = changed(x, name)
    shape = [None, *x.shape[1:]]
    signature = [tf.TensorSpec(shape, x.dtype), tf.TensorSpec([2], tf.int64)]
    traced = tf.function(augment, input_signature=signature)(x, KEY)
    assert traced.shape == x.shape
    np.testing.assert_array_equal(traced, eager)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        data = tf.compat.v1.placeholder(x.dtype, shape)
        key = tf.compat.v1.placeholder(tf.int64, [2])
        result = augment(data, key)
        assert result.shape.as_list() == shape
        in_session = session.run(result, {data: x, key: KEY})
    np.testing.assert_array_equal(in_session, eager)


@pytest.mark.parametrize(
    ("kind", "x"), [("image", IMAGES), ("audio", WAVES.astype(np.float32))]
)
def test_a_client_draws_the_same_in_a_computation_of_tff(kind, x):
    names = ",".join(ALLOWED[kind])
    augment = augmentation.build(names, ALLOWED[kind])
    shape = [None, *x.shape[1:]]

    @tff.tensorflow.computation(
        tff.TensorType(x.dtype.type, shape), tff.TensorType(np.int64, [2])
    )
    def in_computation(x, key):
        return augment(x, key)

    with InProcessContext():
        result = in_computation(x, KEY)
    np.testing.assert_array_equal(result, changed(x, names))


@pytest.mark.parametrize("name", ["shift", "crop", "rotate", "noise"])
def test_every_example_is_drawn_for_itself(name):
    same = np.repeat(IMAGES[:1], 8, axis=0)
    assert len(np.unique(changed(same, name), axis=0)) > 4


def test_names_are_applied_in_order_and_draw_apart():
    once, twice = changed(IMAGES, "noise"), changed(IMAGES, "noise,noise")
    added = [
        (after.astype(float) - before).ravel()
        for before, after in ((IMAGES, once), (once, twice))
    ]
    assert abs(np.corrcoef(*added)[0, 1]) < 0.1
    assert (
        changed(IMAGES, "shift,rotate") != changed(IMAGES, "rotate,shift")
    ).any()


def test_without_names_there_is_nothing_to_do():
    assert augmentation.build(None, augmentation.IMAGE) is None


def test_a_change_that_does_not_suit_is_refused_by_name():
    with pytest.raises(errors.ConfigError) as caught:
        augmentation.build("shift,time_mask", augmentation.IMAGE)
    assert "--augment=shift,time_mask: time_mask does not suit" in str(
        caught.value
    )
    with pytest.raises(errors.ConfigError, match="none"):
        augmentation.build("shift", ())


# Equal in distribution to the oracle's.


@pytest.mark.parametrize(("side", "most"), [(20, 2), (8, 1), (31, 3)])
def test_moves_are_uniform_and_independent(side, most):
    image = np.zeros((DRAWS, side, side, 1), np.uint8)
    image[:, side // 2, side // 2] = 255
    moves = [
        np.argwhere(shifted)[:, 1:3] - side // 2
        for shifted in (changed(image, "shift"), by_oracle(image, "shift"))
    ]
    choices = (2 * most + 1) ** 2
    cells = [
        np.bincount(
            (each[:, 0] + most) * (2 * most + 1) + each[:, 1] + most,
            minlength=choices,
        )
        for each in moves
    ]
    assert len(cells[0]) == choices
    assert stats.chisquare(cells[0]).pvalue > LEAST_P
    assert stats.chi2_contingency(cells)[1] > LEAST_P
    # One example's says nothing of the next one's.
    assert_unrelated(moves[0][:-1, 0], moves[0][1:, 0])


def test_a_wave_moves_along_time_alone_and_its_ends_repeat():
    wave = np.tile(np.arange(50, dtype=np.float32), (DRAWS, 1))
    shifted = changed(wave, "shift")
    moves = (wave[:, 25] - shifted[:, 25]).astype(int)
    expected = np.clip(np.arange(50) - moves[:, np.newaxis], 0, 49)
    np.testing.assert_array_equal(shifted, expected)
    assert stats.chisquare(np.bincount(moves + 5)).pvalue > LEAST_P
    assert set(moves) == set(range(-5, 6))


def ramps(count, height, width):
    """Images whose two channels are each pixel's row and column."""
    grid = np.stack(
        np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1
    )
    return np.repeat(grid[np.newaxis], count, axis=0).astype(np.float32)


def test_angles_are_uniform():
    x = ramps(DRAWS, 9, 13)
    both = []
    for turned in (changed(x, "rotate"), by_oracle(x, "rotate")):
        # A step to the right near the middle is a step of (-sin, cos).
        step = turned[:, 4, 7] - turned[:, 4, 6]
        both.append(np.degrees(np.arctan2(-step[:, 0], step[:, 1])))
    assert np.abs(both[0]).max() < 15.001
    assert_alike(both[0], stats.uniform(-15, 30).rvs(DRAWS, random_state=0))
    assert_alike(*both)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_turn_is_scipys(dtype):
    x = np.random.default_rng(3).integers(0, 256, (5, 11, 17, 3)).astype(dtype)
    degrees = np.array([-15, -4.5, 0, 3, 14], np.float32)
    turned = augmentation.rotate_by(tf.constant(x), tf.constant(degrees))
    expected = [
        ndimage.rotate(image, angle, reshape=False, order=1, mode="nearest")
        for image, angle in zip(x, degrees)
    ]
    tolerance = 0 if dtype == np.uint8 else 1e-3
    np.testing.assert_allclose(turned, expected, atol=tolerance)


def crop_parameters(cropped, height, width):
    """What a crop of `ramps` was made with: share kept, top, left."""
    kept = (cropped[:, -1, 0, 0] - cropped[:, 0, 0, 0]) / (height - 1)
    return kept, cropped[:, 0, 0, 0], cropped[:, 0, 0, 1]


def test_crops_are_of_the_oracles_sizes_and_places():
    height, width = 9, 13
    x = ramps(DRAWS, height, width)
    sizes, places = [], []
    for cropped in (changed(x, "crop"), by_oracle(x, "crop")):
        kept, top, left = crop_parameters(cropped, height, width)
        sizes.append(kept)
        # Of the room that a part of this size has.
        room = np.maximum(1 - kept, 1e-3)
        places.append(
            [top / (room * (height - 1)), left / (room * (width - 1))]
        )
    assert sizes[0].min() > 0.7999
    assert sizes[0].max() < 1.0001
    assert_alike(*sizes)
    assert_alike(places[0][0], places[1][0])
    assert_alike(places[0][1], places[1][1])
    assert_unrelated(*places[0])
    assert_unrelated(sizes[0], places[0][0])


def test_a_crop_is_scipys():
    height, width = 11, 17
    pixels = np.random.default_rng(4).normal(size=(20, height, width, 1))
    x = np.concatenate([pixels, ramps(20, height, width)], axis=-1)
    cropped = changed(x, "crop")
    parameters = crop_parameters(cropped[..., 1:], height, width)
    for before, after, kept, top, left in zip(pixels, cropped, *parameters):
        expected = ndimage.affine_transform(
            before[..., 0],
            np.diag([kept, kept]),
            [top, left],
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(after[..., 0], expected, atol=1e-4)


def test_a_flat_image_stays_flat_when_cropped_and_rotated():
    flat = np.full((4, 16, 16, 1), 77, np.uint8)
    assert (changed(flat, "crop,rotate") == 77).all()


def test_noise_is_normal_and_as_loud_as_the_oracles():
    wave = np.zeros((1, 50_000), np.float32)
    wave[0, 0] = 10.0
    noisy = changed(wave, "noise")[0, 1:]
    assert np.mean(noisy) == pytest.approx(0, abs=0.01)
    assert np.std(noisy) == pytest.approx(0.5, rel=0.01)
    assert stats.kstest(noisy, stats.norm(0, 0.5).cdf).pvalue > LEAST_P
    assert_alike(noisy, by_oracle(wave, "noise")[0, 1:])


def test_noise_is_as_loud_as_its_own_example_asks():
    waves = np.zeros((3, 50_000), np.int16)
    waves[1, 0], waves[2, 0] = -32768, 1000
    noisy = changed(waves, "noise")
    assert not noisy[0].any()
    assert np.std(noisy[1, 1:]) == pytest.approx(0.05 * 32768, rel=0.02)
    assert np.std(noisy[2, 1:]) == pytest.approx(50, rel=0.02)


def test_noise_is_cut_to_the_range_of_whole_numbers():
    noisy = changed(np.full((1, 64, 64, 1), 255, np.uint8), "noise")
    assert 0.4 < np.mean(noisy == 255) < 0.6
    assert noisy.min() > 255 - 6 * 0.05 * 255


def test_masks_are_of_the_oracles_widths_and_places():
    waves = np.ones((DRAWS, 100), np.float32)
    widths, places = [], []
    for masked in (changed(waves, "time_mask"), by_oracle(waves, "time_mask")):
        silent = masked == 0
        width = silent.sum(1)
        start = silent.argmax(1)
        covered = (np.arange(100) >= start[:, np.newaxis]) & (
            np.arange(100) < (start + width)[:, np.newaxis]
        )
        np.testing.assert_array_equal(silent, covered)
        widths.append(np.bincount(width, minlength=21))
        places.append(start[width > 0] / (101 - width[width > 0]))
    assert len(widths[0]) == 21
    assert stats.chisquare(widths[0]).pvalue > LEAST_P
    assert stats.chi2_contingency(widths)[1] > LEAST_P
    assert_alike(*places)
    assert places[0].min() == 0
    assert (places[0] > 0.98).any()
