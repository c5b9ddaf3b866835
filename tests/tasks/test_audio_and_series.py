"""Spoken digits by speaker; oil temperatures by station and month."""

import gzip
import wave
import zipfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.testing.data import data_folder
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.datasets import ett, spoken_digits
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.models import audio

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def load(name, data_dir, **options):
    options = DataConfig(task=name, data_dir=str(data_dir), **options)
    return registry.load(name, registry.TASKS)(options, 0)


def train(task, data_dir, output_dir, rounds, rate, **options):
    """A short federated training with Adam on the clients."""
    config = ExperimentConfig(
        DataConfig(task=task, data_dir=data_dir, **options),
        ClientConfig(
            optimizer=OptimizerConfig("client", "adam", rate),
            clients_per_round=4,
            batch_size=32,
        ),
        run=RunConfig(
            output_dir=str(output_dir),
            total_rounds=rounds,
            rounds_per_eval=rounds,
        ),
    )
    return experiment.run(config)


def served(result, **inputs):
    """What the exported model says."""
    model = tf.saved_model.load(result.directory.saved_model)
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    outputs = model.signatures["serving_default"](**inputs)
    return {name: value.numpy() for name, value in outputs.items()}


# Spoken digits.


@pytest.fixture(scope="module")
def fsdd():
    return load("spoken_digits_cnn", str(data_folder("fsdd")))


def test_fsdd_has_the_published_recordings(fsdd):
    assert tuple(fsdd.train.client_ids) == SPEAKERS
    for speaker in SPEAKERS:
        mine, tests = fsdd.train.load(speaker), fsdd.test_clients.load(speaker)
        assert np.bincount(mine.y).tolist() == [45] * 10
        assert np.bincount(tests.y).tolist() == [5] * 10
    assert fsdd.test.x.shape == (300, 8000)
    assert fsdd.test.x.dtype == np.int16
    assert fsdd.unseen is None
    assert fsdd.build_model().count_params() == 167370


def test_a_speaker_held_out_is_in_no_part_that_trains():
    task = load("spoken_digits_cnn", str(data_folder("fsdd")), unseen_clients=1)
    (speaker,) = task.unseen.client_ids
    assert task.unseen.size(speaker) == 500
    assert set(task.train.client_ids) == set(SPEAKERS) - {speaker}
    assert len(task.test) == 250


@pytest.mark.soak
def test_fsdd_is_learned_with_augmentation_and_exported(tmp_path):
    result = train(
        "spoken_digits_cnn",
        str(data_folder("fsdd")),
        tmp_path / "run",
        rounds=3,
        rate=0.002,
        augment="shift,noise,time_mask",
        max_examples_per_client=150,
    )
    # One in ten, and log(10) or 2.303, by chance.
    assert result.evaluation["accuracy"] > 0.15
    assert result.evaluation["loss"] < 2.25
    _, test, _, _ = spoken_digits.load(str(data_folder("fsdd")))
    outputs = served(result, audio=test.x)
    accuracy = np.mean(outputs["class_id"] == test.y)
    assert accuracy == pytest.approx(result.evaluation["accuracy"], abs=0.0034)


def write_wave(path, samples, rate=8000, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())


@pytest.fixture
def recordings(tmp_path):
    """A folder of three recordings of two speakers."""
    folder = tmp_path / "mine"
    write_wave(folder / "3_ann_0.wav", [1, -2, 3])
    write_wave(folder / "more" / "4_bob_b_7.wav", np.arange(9000))
    write_wave(folder / "5_ann_12.wav", [-32768])
    return folder


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.wav")):
            archive.write(file, file.relative_to(folder))
    return path


def test_recordings_are_cut_or_padded_to_a_second(recordings):
    train_part, test, owners, test_owners = spoken_digits.load(str(recordings))
    assert owners.tolist() == ["ann", "bob_b"]
    assert test_owners.tolist() == ["ann"]
    assert train_part.y.tolist() == [5, 4]
    assert test.x[0, :5].tolist() == [1, -2, 3, 0, 0]
    assert train_part.x[0, :2].tolist() == [-32768, 0]
    assert train_part.x[1].tolist() == list(range(8000))
    assert train_part.x.dtype == np.int16


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_zip_file_is_read_as_its_folder_is(recordings, tmp_path, as_folder):
    wanted = spoken_digits.load(str(recordings))
    alone = tmp_path / "alone"
    alone.mkdir()
    path = zipped(recordings, alone / "any.zip")
    found = spoken_digits.load(str(alone if as_folder else path))
    for one, other in zip(wanted[:2], found[:2]):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)
    np.testing.assert_array_equal(wanted[2], found[2])
    assert [path.name for path in alone.iterdir()] == ["any.zip"]


@pytest.mark.parametrize(
    "name", ["../1_eve_9.wav", "/1_eve_9.wav", "a\\..\\1_eve_9.wav", "C:/x.wav"]
)
def test_a_zip_that_points_outside_its_folder_is_refused(
    recordings, tmp_path, name
):
    path = zipped(recordings, tmp_path / "bad.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"RIFF")
    with pytest.raises(errors.DataError, match=r"bad\.zip .*points outside"):
        spoken_digits.load(str(path))


def refused(data_dir, *words):
    with pytest.raises(errors.DataError) as caught:
        spoken_digits.load(str(data_dir))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 16000}, "16000 Hz"),
        ({"channels": 2}, "2 channels"),
    ],
)
def test_a_recording_of_another_kind_is_refused(recordings, options, words):
    write_wave(recordings / "1_eve_9.wav", [0] * 4, **options)
    refused(recordings, "1_eve_9.wav", words, "convert it")


def test_a_damaged_recording_is_refused_by_name(recordings):
    path = recordings / "1_eve_9.wav"
    write_wave(path, range(100))
    whole = path.read_bytes()
    for length in (20, 40, 100):
        path.write_bytes(whole[:length])
        refused(recordings, "1_eve_9.wav", "fetch or write it again")
    path.write_bytes(b"")
    refused(recordings, "1_eve_9.wav", "starts with the bytes none")
    path.write_bytes(b"MThd" + whole[4:])
    refused(recordings, "1_eve_9.wav", "is no WAV file")
    write_wave(path, [])
    refused(recordings, "1_eve_9.wav", "0 samples")


@pytest.mark.parametrize("packed", [False, True])
def test_endings_in_capitals_are_read_too(recordings, tmp_path, packed):
    wanted = spoken_digits.load(str(recordings))
    path = recordings / "5_ann_12.wav"
    path.rename(path.with_name("5_ann_12.WAV"))
    place = recordings
    if packed:
        place = tmp_path / "any.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for file in recordings.rglob("*.[wW]*"):
                archive.write(file, file.relative_to(recordings))
    found = spoken_digits.load(str(place))
    assert found[0].y.tolist() == wanted[0].y.tolist()
    assert found[2].tolist() == wanted[2].tolist()


def test_other_recordings_are_not_left_out_in_silence(recordings, tmp_path):
    (recordings / "more" / "6_ann_1.MP3").write_bytes(b"ID3")
    refused(recordings, "6_ann_1.MP3 is no WAV file", "convert them to .wav")
    path = tmp_path / "any.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(recordings / "more" / "6_ann_1.MP3", "a/6_ann_1.MP3")
    refused(path, "any.zip/a/6_ann_1.MP3 is no WAV file")


def test_a_misnamed_recording_is_refused(recordings):
    write_wave(recordings / "ten_eve.wav", [0])
    refused(recordings, "ten_eve.wav", "{digit}_{speaker}_{index}.wav")


def test_a_damaged_zip_is_refused(recordings, tmp_path):
    path = zipped(recordings, tmp_path / "bad.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused(path, "bad.zip", "fetch it again")
    # Within a recording, where its checksum tells.
    path.write_bytes(whole[:60] + b"\0\0\0\0" + whole[64:])
    refused(path, "3_ann_0.wav", "fetch it again")


def test_folders_without_what_is_needed_are_refused(recordings, tmp_path):
    refused(tmp_path / "nowhere", "does not exist", "--data_dir")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "holds no .wav file", "fsdd.zip")
    for name in ("a.zip", "b.zip"):
        zipped(recordings, empty / name)
    refused(empty, "2 zip files")
    (recordings / "3_ann_0.wav").unlink()
    refused(recordings, "0 recordings of index 0 to 4")


def test_spoken_digits_without_data_dir_are_refused():
    with pytest.raises(errors.ConfigError, match=r"--data_dir.*fsdd\.zip"):
        registry.load("spoken_digits_cnn", registry.TASKS)(
            DataConfig(task="spoken_digits_cnn"), 0
        )


def tone(hertz, loudness):
    seconds = np.arange(8000) / 8000
    return loudness * np.sin(2 * np.pi * hertz * seconds)


def test_log_mel_shows_pitch_and_not_loudness():
    waves = np.array(
        [tone(500, 9000), tone(500, 900), tone(2000, 9000), np.zeros(8000)]
    )
    pictures = audio.LogMel()(waves.astype(np.int16)).numpy()[..., 0]
    assert pictures.shape == (4, 61, 40)
    # Bands lie evenly in mel, by the formula of O'Shaughnessy 1987.
    mel = 1127 * np.log1p(np.array([60, 500, 2000, 4000]) / 700)
    bands = (mel[1:3] - mel[0]) / (mel[3] - mel[0]) * 41 - 1
    found = pictures.mean(axis=1).argmax(axis=1)
    assert np.abs(found[[0, 2]] - bands).max() < 1
    assert found[1] == found[0]
    np.testing.assert_allclose(pictures[3], 0, atol=1e-3)
    np.testing.assert_allclose(pictures[0].mean(), 0, atol=1e-3)
    np.testing.assert_allclose(pictures[0].std(), 1, atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 11025])
def test_log_mel_is_that_of_tf_signal(rate):
    waves = np.random.default_rng(0).integers(-9000, 9000, [3, 4000])
    step = 16 * rate // 1000
    spectra = tf.signal.stft(
        waves.astype(np.float32) / 2**15, 2 * step, step, 2 * step
    )
    mel = tf.signal.linear_to_mel_weight_matrix(
        40, step + 1, rate, 60.0, rate / 2
    )
    wanted = np.log(np.abs(spectra) ** 2 @ mel.numpy() + 1e-5)
    wanted -= wanted.mean(axis=(1, 2), keepdims=True)
    wanted /= np.sqrt(wanted.var(axis=(1, 2), keepdims=True) + 1e-3)
    found = audio.LogMel(rate)(waves.astype(np.int16)).numpy()[..., 0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_log_mel_comes_back_from_its_config():
    layer = audio.LogMel(rate=16000, bands=20)
    again = audio.LogMel.from_config(layer.get_config())
    assert (again.rate, again.bands) == (16000, 20)
    assert not layer.weights


# Series.


@pytest.fixture(scope="module")
def stations():
    return ett.load(str(data_folder("ett")))


@pytest.fixture(scope="module")
def forecast():
    return load("load_forecast_gru", str(data_folder("ett")))


def test_ett_has_the_published_hours_and_clients(stations, forecast):
    assert [station.name for station in stations] == ["ETTh1", "ETTh2"]
    assert {station.values.shape for station in stations} == {(17420, 7)}
    assert len(forecast.train) == 24
    assert forecast.train.client_ids[0] == "ETTh1_2016-07"
    # 744 hours of July give 744 - 96 - 24 + 1 windows.
    assert forecast.train.size("ETTh1_2016-07") == 625
    # Informer's count of its test set.
    assert len(forecast.test) == 2 * 2857
    assert forecast.build_model().count_params() == 19608


def test_no_test_hour_is_trained_on(stations):
    for station in stations:
        train_hours = sum(
            len(readings)
            for readings in ett.training_readings([station]).values()
        )
        assert train_hours == ett.TRAIN_HOURS < ett.TEST_HOURS[0] - 96
        assert station.months[ett.TRAIN_HOURS - 1] == "2017-06"
        assert station.months[ett.TEST_HOURS[0]] == "2017-10"


def test_an_untrained_model_repeats_the_last_hour(forecast):
    evaluator = Evaluator(forecast)
    weights = experiment.initial_weights(forecast, 0)
    found = evaluator.evaluate(weights, forecast.test)
    # From the two files with pandas alone, scaled by each one's 8,640 hours:
    # ETTh1 .03431 and .13941, ETTh2 .22936 and .35728.
    assert found["mean_squared_error"] == pytest.approx(0.13184, abs=2e-5)
    assert found["mean_absolute_error"] == pytest.approx(0.24835, abs=2e-5)
    assert found["loss"] == pytest.approx(found["mean_squared_error"])
    assert "the last hour, repeated, 0.1318 and 0.2483;" in forecast.notes


# The recordings' training is the same road in every test run.
@pytest.mark.soak
def test_a_forecast_is_learned_and_exported(forecast, tmp_path):
    result = train(
        "load_forecast_gru",
        str(data_folder("ett")),
        tmp_path / "run",
        rounds=2,
        rate=0.005,
        max_examples_per_client=250,
        max_test_examples=500,
    )
    options = {"max_test_examples": 500}
    test = load("load_forecast_gru", str(data_folder("ett")), **options).test
    error = served(result, history=test.x)["value"] - test.y[..., 0]
    scale = np.array([9.17649, 11.58472])[test.y[..., 1].astype(int)]
    found = np.mean((error / scale) ** 2)
    assert found == pytest.approx(
        result.evaluation["mean_squared_error"], rel=1e-4
    )
    # Where it began: the last hour, repeated.
    error = test.x[:, -1:, ett.TARGET] - test.y[..., 0]
    assert found < 0.85 * np.mean((error / scale) ** 2)


def test_the_scale_is_that_of_the_months_that_train(stations):
    task = load("load_forecast_gru", str(data_folder("ett")), unseen_clients=20)
    trained = ett.training_readings(stations)
    assert len(task.train) == 4
    readings = np.concatenate([trained[c] for c in task.train.client_ids])
    layer = next(
        layer
        for layer in task.build_model().layers
        if isinstance(layer, tf.keras.layers.Normalization)
    )
    found = [np.ravel(layer.mean), np.sqrt(np.ravel(layer.variance))]
    wanted = readings.astype(np.float64)
    np.testing.assert_allclose(found[0], wanted.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted.std(0), rtol=1e-5)


def table(hours=14400):
    """A made-up station whose columns count the hours."""
    dates = pd.date_range("2020-01-01", periods=hours, freq="h")
    columns = {
        name: np.arange(hours) + 0.5 * number
        for number, name in enumerate(ett.COLUMNS)
    }
    return pd.DataFrame({"date": dates, **columns})


def write(path, frame):
    path.parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def test_windows_go_on_where_their_history_ends(tmp_path):
    write(tmp_path / "own.csv", table())
    (station,) = ett.load(str(tmp_path))
    readings = ett.training_readings([station])
    windows, owners = ett.training_windows(readings, 5, 3)
    np.testing.assert_array_equal(
        windows.y[:, 0], windows.x[:, -1, ett.TARGET] + 1
    )
    assert windows.y[0].tolist() == [8.0, 9.0, 10.0]
    # A window never leaves its month.
    assert len(windows) == ett.TRAIN_HOURS - 12 * 7
    assert owners[0] == "own_2020-01"
    test, test_owners = ett.test_windows([station], 5, 3)
    assert test.y[0, 0] == ett.TEST_HOURS[0] + 3
    assert test.y[-1, -1] == ett.TEST_HOURS[1] - 1 + 3
    assert len(test) == 2880 - 3 + 1
    assert test_owners[0] == "own_2021-04"


def refused_series(data_dir, *words):
    with pytest.raises(errors.DataError) as caught:
        ett.load(str(data_dir))
    for word in words:
        assert word in str(caught.value)


def test_a_station_that_cannot_be_used_is_refused(tmp_path):
    path = tmp_path / "a" / "s.csv"
    refused_series(path.parent, "does not exist", "ETTh1.csv.gz")
    write(path, table().drop(columns=["MULL", "OT"]))
    refused_series(path, "lacks the columns MULL, OT", "date, HUFL")
    write(path, table(100))
    refused_series(path, "100 hours", "14,400")
    write(path, table().drop(index=7))
    refused_series(path, "14,399 hours")
    write(path, table(14401).drop(index=7))
    refused_series(
        path,
        "2020-01-01 08:00:00 in line 9",
        "one hour after",
        "fill in what is missing",
    )
    text = table().astype({"LUFL": object})
    text.loc[3, "LUFL"] = "broken"
    write(path, text)
    refused_series(path, "broken for LUFL in line 5")
    text.loc[3, "LUFL"] = None
    write(path, text)
    refused_series(path, "nan for LUFL in line 5")
    path.write_bytes(b"")
    refused_series(path, "cannot be read as CSV")
    path.unlink()
    refused_series(path.parent, "holds no .csv.gz or .csv file")


@pytest.mark.parametrize(
    "form",
    [
        *("%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S"),
        *("%Y/%m/%d %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%d-%m-%y %H:%M", "%s"),
        "%Y-%m-%d %H:%M:%S+02:00",
    ],
)
def test_dates_may_be_written_otherwise(tmp_path, form):
    path = write(tmp_path / "s.csv", table())
    (wanted,) = ett.load(str(path))
    other = table()
    if form == "%s":
        seconds = (other["date"] - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
        other["date"] = seconds
    else:
        if "+02" in form:
            other["date"] += pd.Timedelta(hours=2)
        other["date"] = other["date"].dt.strftime(form)
    write(path, other)
    (station,) = ett.load(str(path))
    assert station.months.tolist() == wanted.months.tolist()
    np.testing.assert_array_equal(station.values, wanted.values)


def test_midnight_without_a_time_and_semicolons_are_read(tmp_path):
    frame = table()
    text = (
        frame["date"].dt.strftime("%d/%m/%Y %H:%M").str.removesuffix(" 00:00")
    )
    frame = frame.assign(date=text).rename(columns={"date": " Date"})
    path = tmp_path / "s.CSV"
    frame.to_csv(path, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    (station,) = ett.load(str(tmp_path))
    assert (station.name, station.months[-1]) == ("s", "2021-08")
    assert station.values[1].tolist() == [1, 1.5, 2, 2.5, 3, 3.5, 4]


def test_the_advice_fits_what_is_wrong_with_dates(tmp_path):
    path = tmp_path / "s.csv"
    for change, words in (
        ({9: "31/31/2020"}, "31/31/2020 in line 11, which is not understood"),
        ({9: "soon"}, "soon in line 11, which is not understood; write all"),
        ({9: "2020-01-01 08:00:00"}, "it is the same: leave one of them out"),
        ({9: "2020-01-01 03:00:00"}, "it is earlier: sort the lines by date"),
    ):
        frame = table()
        frame["date"] = frame["date"].astype(str)
        for row, text in change.items():
            frame.loc[row, "date"] = text
        write(path, frame)
        refused_series(path, "s.csv has the date", words)
    local = table(14401)
    local["date"] = (
        local["date"]
        .dt.tz_localize("UTC")
        .dt.tz_convert("Europe/Berlin")
        .dt.strftime("%d.%m.%Y %H:%M")
    )
    write(path, local)
    refused_series(path, "29.03.2020 03:00", "the clock was changed", "UTC")
    quarters = table(14400)
    dates = pd.date_range("2020-01-01", periods=14400, freq="15min")
    write(path, quarters.assign(date=dates))
    refused_series(path, "all are 0 days 00:15:00 apart", "one reading an hour")


def test_a_truncated_gzip_and_a_station_twice_are_refused(tmp_path):
    plain = write(tmp_path / "s.csv", table())
    packed = tmp_path / "s.csv.gz"
    whole = gzip.compress(plain.read_bytes())
    packed.write_bytes(whole)
    refused_series(tmp_path, "a station twice")
    plain.unlink()
    (station,) = ett.load(str(tmp_path))
    assert station.name == "s"
    packed.write_bytes(whole[:-100])
    refused_series(tmp_path, "s.csv.gz", "fetch it again")


def test_a_forecast_without_data_dir_is_refused():
    with pytest.raises(errors.ConfigError, match=r"--data_dir.*ETTh1\.csv\.gz"):
        registry.load("load_forecast_gru", registry.TASKS)(
            DataConfig(task="load_forecast_gru"), 0
        )
