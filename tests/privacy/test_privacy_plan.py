"""Plans: what the flags promise is what is run, or they are refused."""

import json
import math
import os

import numpy as np
import pytest

from tff_pipeline import errors
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.privacy import (
    MECHANISM_OF,
    PRIVACY_OPTIONS,
    SAMPLINGS_OF,
    PrivacyConfig,
)
from tff_pipeline.privacy import (
    accounting,
    paper,
    plan,
    secret_file,
    statement,
)
from tff_pipeline.privacy.ledger import Ledger
from tff_pipeline.privacy.setting import Setting
from tff_pipeline.runs.directory import RunDirectory

SECRET = 0x0123456789ABCDEF0123456789ABCDEF
POPULATION = 1000
PRIVATE = list(PRIVACY_OPTIONS)


def config(name="dp_gaussian", rounds=50, size=50, clients=None, **options):
    if not {"dp_target_epsilon", "dp_noise_multiplier"} & set(options):
        options["dp_noise_multiplier"] = 1.0
    if "dp_clip" in PRIVACY_OPTIONS[name]:
        options.setdefault("dp_clip", 0.5)
    return ExperimentConfig(
        data=DataConfig(partition="natural"),
        clients=ClientConfig(clients_per_round=size, **(clients or {})),
        aggregation=AggregationConfig(name),
        privacy=PrivacyConfig(**options),
        run=RunConfig(total_rounds=rounds),
    )


def chosen(name, **options):
    return ExperimentConfig(
        aggregation=AggregationConfig(name), privacy=PrivacyConfig(**options)
    )


def made(*arguments, population=POPULATION, **options):
    return plan.make(config(*arguments, **options), population, 1000, SECRET)


@pytest.mark.parametrize("name", PRIVATE)
def test_sampling_and_weighting_are_what_the_mechanism_takes(name):
    clients = config(name).clients
    assert clients.sampling == SAMPLINGS_OF[MECHANISM_OF[name]][0]
    assert clients.weighting == "uniform"
    planned = made(name)
    assert planned.setting.sampling == clients.sampling
    assert planned.setting.cohort_size == 50
    assert 0 < planned.epsilon(50) < math.inf


def test_without_privacy_all_is_as_before():
    clients = ExperimentConfig().clients
    assert clients.sampling == "uniform"
    assert clients.weighting == "num_examples"


def test_poisson_is_accounted_for_as_it_is_run():
    planned = made(dp_noise_multiplier=0.8, dp_delta=1e-5)
    setting = Setting("gaussian", "poisson", 1000, 50, 50)
    assert planned.epsilon(50) == accounting.epsilon(setting, 0.8, 1e-5)
    assert planned.accountant == "pld"
    assert planned.epsilon(0) == 0


def test_a_fixed_size_is_not_called_poisson():
    # A client may be replaced, which moves the sum by two clips.
    planned = made(dp_delta=1e-5, clients={"sampling": "uniform"})
    setting = Setting("gaussian", "uniform", 1000, 50, 50)
    assert planned.epsilon(50) == accounting.epsilon(setting, 0.5, 1e-5)
    assert planned.accountant == "rdp"
    assert planned.epsilon(50) > made(dp_delta=1e-5).epsilon(50)


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("target", [0.5, 8.0])
def test_the_noise_keeps_the_target(name, target):
    planned = made(name, dp_target_epsilon=target, size=200)
    assert 0.99 * target < planned.epsilon(50) <= target


def test_delta_is_below_one_client_of_all():
    assert made().delta == pytest.approx(1000**-1.1)
    assert made(dp_delta=1e-7).delta == 1e-7


def test_noise_of_0_is_no_privacy():
    planned = made(dp_noise_multiplier=0.0)
    assert planned.epsilon(1) == math.inf
    said = statement.content(planned, 3)
    assert said["private"] is False and said["epsilon"] is None
    assert "No guarantee" in statement.in_words(said)


def test_epsilon_of_participations_not_of_rounds():
    # Everyone once in 20 rounds: as much after 1 round as after 20.
    planned = made("dp_tree_restart", rounds=60)
    assert planned.epsilon(20) < planned.epsilon(21)
    planned = made("dp_matrix", rounds=60)
    assert planned.setting.min_separation == 20
    assert planned.epsilon(1) == planned.epsilon(20) < planned.epsilon(21)
    # One Gaussian mechanism of three participations.
    gaussian = Setting("gaussian", "poisson", 10, 10, 3)
    found = accounting.epsilon(gaussian, 1.0, planned.delta)
    assert planned.epsilon(60) == pytest.approx(found, rel=2e-3)


def test_local_noise_has_no_help_from_the_others():
    planned = made("dp_local", rounds=7, dp_delta=1e-5)
    # Any message instead of any other, in all rounds.
    one = Setting("gaussian", "poisson", 10, 10, 1)
    found = accounting.epsilon(one, 0.5 / math.sqrt(7), 1e-5)
    assert planned.epsilon(7) == pytest.approx(found, rel=2e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: config(clients={"weighting": "num_examples"}),
            ["--client_weighting=num_examples", "dp_gaussian", "leave it out"],
        ),
        (
            lambda: config("dp_tree", clients={"sampling": "poisson"}),
            ["--sampling=poisson", "dp_tree", "shuffled or min_separation"],
        ),
        (
            lambda: config("dp_matrix", clients={"sampling": "uniform"}),
            ["--sampling=uniform", "choose min_separation"],
        ),
        (
            lambda: chosen("dp_gaussian", dp_clip=1.0),
            ["--dp_noise_multiplier", "--dp_target_epsilon"],
        ),
        (
            lambda: config(dp_noise_multiplier=1.0, dp_target_epsilon=1.0),
            ["is 1.0"],
        ),
        (
            lambda: chosen("dp_gaussian", dp_noise_multiplier=1.0),
            ["--dp_clip", "dp_gaussian_adaptive"],
        ),
        (
            lambda: chosen("mean", dp_delta=0.1),
            ["--dp_delta=0.1", "--aggregator=mean"],
        ),
        (
            lambda: chosen("mean", audit_canaries=3),
            ["--audit_canaries=3"],
        ),
        (lambda: config("dp_tree", dp_quantile=0.3), ["--dp_quantile=0.3"]),
        (lambda: config("dp_gaussian", dp_clip=0.0), ["--dp_clip=0.0"]),
        (lambda: config(dp_clip=math.nan), ["--dp_clip=nan", "finite"]),
        (lambda: config(dp_clip=math.inf), ["--dp_clip=inf", "finite"]),
        (
            lambda: config(dp_noise_multiplier=math.nan),
            ["--dp_noise_multiplier=nan"],
        ),
        (lambda: config(dp_noise_multiplier=-1.0), ["above"]),
        (lambda: config(dp_target_epsilon=math.inf), ["finite"]),
        (lambda: config(dp_target_epsilon=-2.0), ["above 0"]),
        (lambda: config(dp_delta=1.0), ["--dp_delta=1.0", "below 1"]),
        (lambda: config(dp_delta=0.0), ["--dp_delta=0.0"]),
        (
            lambda: chosen("dp_zeroing", dp_clip=1.0),
            ["--aggregator=dp_zeroing", "dp_tree"],
        ),
        (lambda: made(size=2000), ["--clients_per_round=2000", "1000"]),
        (
            lambda: made(clients={"sampling": "uniform"}, dp_accountant="pld"),
            ["--dp_accountant=pld", "--dp_accountant=rdp"],
        ),
        (lambda: made(dp_accountant="zcdp"), ["--dp_accountant=zcdp"]),
        (
            lambda: made(rounds=10**8, dp_target_epsilon=1e-4),
            ["--dp_target_epsilon=0.0001", "raise it"],
        ),
        (
            lambda: made("dp_distributed", dp_bits=40),
            ["--dp_bits=40", "1 to 30"],
        ),
        (
            lambda: made("dp_distributed", dp_bits=2),
            ["--dp_bits=2", "are too few", "at least"],
        ),
        # More noise makes the grid coarser still, without end.
        (
            lambda: made("dp_distributed", dp_bits=8, dp_target_epsilon=0.05),
            ["--dp_bits=8", "are too few", "at least"],
        ),
        # The count's noise is a twentieth of the cohort.
        (
            lambda: made("dp_gaussian_adaptive", size=10),
            ["--clients_per_round=10", "11 or more", "above 0.5"],
        ),
        (
            lambda: made("dp_gaussian_adaptive", dp_count_stddev=0.5),
            ["--dp_count_stddev=0.5", "above 0.5"],
        ),
    ],
)
def test_what_does_not_agree_is_refused_in_a_sentence(make, words):
    with pytest.raises(errors.ConfigError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_the_advice_on_the_count_is_good():
    made("dp_gaussian_adaptive", size=11)
    made("dp_gaussian_adaptive", size=10, dp_count_stddev=0.51)


# The secret.


def test_noise_cohorts_and_canaries_have_secrets_of_their_own():
    one, other = made(), plan.make(config(), POPULATION, 1000, SECRET + 1)
    keys = [
        [*p.noise_key.tolist(), p.cohort_seed, *p.canary_key.tolist()]
        for p in (one, other)
    ]
    assert len({*keys[0], *keys[1]}) == 10
    assert one.noise_key.dtype == np.int64
    assert f"{SECRET:x}" not in repr(one)
    assert one.fingerprint != other.fingerprint


def test_the_secret_is_drawn_once_and_its_owners_alone(tmp_path):
    path = tmp_path / "noise_secret"
    drawn = {secret_file.read_or_draw(str(path), None) for _ in range(20)}
    assert len(drawn) == 20
    assert not path.exists()
    secret_file.keep(str(path), SECRET)
    secret_file.keep(str(path), 1)
    assert secret_file.read_or_draw(str(path), None) == SECRET
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_seed_is_no_secret(tmp_path):
    path = str(tmp_path / "noise_secret")
    seeded = [secret_file.read_or_draw(path, seed) for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]
    said = statement.content(made(dp_noise_seed=1), 5)
    assert said["private"] is False
    assert said["warning"].startswith("Simulation only, no privacy")


@pytest.mark.parametrize("text", ["", "12", "x" * 32, "é" * 32])
def test_a_spoilt_secret_is_named(tmp_path, text):
    path = tmp_path / "noise_secret"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.RunDirectoryError) as caught:
        secret_file.read_or_draw(str(path), None)
    assert str(path) in str(caught.value)


# The ledger.


def ledger(*arguments, **options):
    return Ledger(made(*arguments, **options), lambda rounds, state: None)


def test_a_ledger_goes_on_with_its_own_terms_alone():
    saved = ledger().record(10)
    ledger().check(saved, 10)
    # The rounds that are left matter to no noise that was given as a number.
    ledger(rounds=70).check(saved, 10)
    for other, words in (
        (ledger(dp_noise_multiplier=1.5), "noise_multiplier (was 1.0, now 1.5"),
        (ledger(size=40), "cohort_size (was 50, now 40"),
        (ledger(population=999), "population (was 1000, now 999"),
        (ledger(dp_delta=1e-4), "delta"),
    ):
        with pytest.raises(errors.ConfigError, match="other terms") as caught:
            other.check(saved, 10)
        assert words in str(caught.value)
    for wrong in (None, {**saved, "rounds": 9}):
        with pytest.raises(errors.ConfigError, match="no account"):
            ledger().check(wrong, 10)
    with pytest.raises(errors.ConfigError, match="noise_secret"):
        ledger().check({**saved, "secret": "00"}, 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dp_gaussian", {"dp_target_epsilon": 2.0}),
        ("dp_tree", {}),
        ("dp_matrix", {}),
    ],
)
def test_noise_that_was_made_for_some_rounds_takes_no_more(name, options):
    saved = ledger(name, **options).record(10)
    with pytest.raises(errors.ConfigError, match="rounds"):
        ledger(name, rounds=70, **options).check(saved, 10)


def test_the_most_is_held_before_the_round_that_would_exceed_it():
    budget = ledger(dp_max_epsilon=1.0)
    rounds = 1
    while budget.allows(rounds + 1):
        rounds += 1
    assert budget.epsilon(rounds) <= 1.0 < budget.epsilon(rounds + 1)
    assert ledger().allows(10**6)


# The statement.


@pytest.mark.parametrize("name", PRIVATE)
def test_a_statement_says_all_that_epsilon_rests_on(name):
    planned = made(name)
    said = statement.content(planned, 30)
    assert said["epsilon"] == planned.epsilon(30)
    assert said["epsilon_of_all_planned_rounds"] == planned.epsilon(50)
    assert said["epsilon_without_amplification"] >= said["epsilon"]
    assert said["rounds"] == 30 and said["population"] == POPULATION
    words = statement.in_words(said)
    for fact in (
        "one client with all its data",
        said["adjacency"],
        name,
        said["sampling"],
        "30 of 50 rounds",
        f"{said['epsilon']:.4g}",
        f"{said['delta']:.3g}",
        "Not covered",
        "Evaluation",
    ):
        assert fact in " ".join(words.split()), fact
    assert max(map(len, words.splitlines())) <= 80


def test_exact_metrics_are_confessed():
    def sentences(**options):
        return statement.content(made(**options), 1)["not_covered"]

    assert "--dp_release_exact_metrics" not in " ".join(sentences())
    told = sentences(dp_release_exact_metrics=True)
    assert "--dp_release_exact_metrics" in told[0]
    held = statement.content(made("dp_matrix"), 1)
    assert "checkpoints/" in held["not_covered"][-1]
    assert np.linalg.norm(held["matrix"]) == pytest.approx(1)


def test_a_delta_that_may_be_a_whole_client_is_never_called_private():
    planned = made(dp_delta=0.01, dp_allow_large_delta=True)
    said = statement.content(planned, 1)
    assert said["private"] is False and not planned.private
    assert "Delta 0.01 is too large for 1000 clients" in said["warning"]
    assert said["verdict"].startswith("NO PRIVACY")
    words = statement.in_words(said)
    assert "No guarantee" in words
    assert "-differential privacy" not in words


@pytest.mark.parametrize(
    ("delta", "population", "words"),
    [
        (0.01, 1000, ["--dp_delta=0.01", "1 / 1000 clients or more", "=1e-05"]),
        # To the letter.
        (1e-3, 1000, ["--dp_delta=0.001", "1 / 1000 clients"]),
        (0.5, 1, ["--dp_delta=0.5"]),
        (1e-6, 10**6, ["--dp_delta=1e-06", "--dp_delta=1e-07"]),
        # Six silos, whose default would fail for one in seven.
        (None, 6, ["--dp_delta is not set", "0.139", "--dp_delta=1e-05"]),
        (0.1, 6, ["--dp_delta=0.1", "above 0.01", "6 clients"]),
    ],
)
def test_a_delta_that_protects_nobody_is_refused(delta, population, words):
    options = {} if delta is None else {"dp_delta": delta}
    size = min(population, 50)
    with pytest.raises(errors.ConfigError) as caught:
        made(size=size, population=population, **options)
    assert str(caught.value).count(". ") == 0
    for word in [*words, "--dp_allow_large_delta"]:
        assert word in str(caught.value)
    forced = made(
        size=size, population=population, dp_allow_large_delta=True, **options
    )
    assert not forced.private
    # The advice is good.
    advised = str(caught.value).split("give --dp_delta=")[1].split(",")[0]
    assert made(
        size=size, population=population, dp_delta=float(advised)
    ).private


@pytest.mark.parametrize(
    ("epsilon", "delta", "word"),
    [
        (0.0, 1e-5, "NOTHING"),
        (1.0, 1e-5, "STRONG"),
        (1.1, 1e-5, "MODERATE"),
        (10.1, 1e-5, "WEAK"),
        (None, 1e-5, "NO PRIVACY"),
    ],
)
def test_a_verdict_is_in_plain_words(epsilon, delta, word):
    said = paper.verdict(None, epsilon, delta, "client")
    assert said.startswith(word)


def test_a_statement_can_be_signed(tmp_path):
    directory = RunDirectory(str(tmp_path / "silos"))
    hashes = {"Mrs Marple.csv": "ab" * 32, "Mr Stringer.csv": "cd" * 32}
    directory.claim(config(), environment={"data": hashes})
    head = paper.head(directory)
    said = statement.content(made(), 3, head=head)
    words = statement.in_words(said)
    for fact in (
        "PRIVACY STATEMENT",
        "run         silos",
        f"date        {said['date']}",
        "ab" * 32,
        "cd" * 32,
        "verdict",
        "signature   ____",
    ):
        assert fact in words, fact
    # A file a client: its name is the client's.
    assert "Marple" not in words + json.dumps(said)
    many = {f"{i}.csv": f"{i:064x}" for i in range(100)}
    directory.claim(config(), True, {"data": many})
    words = statement.in_words(
        statement.content(made(), 3, head=paper.head(directory))
    )
    assert "100 files in all" in words
    assert max(map(len, words.splitlines())) <= 80
    directory.claim(config(), True)
    assert paper.head(directory)["data_files"] == 0


def test_an_audit_above_the_promise_is_called_broken():
    def words(low, high):
        audit = {
            "canaries": 100,
            "epsilon": (low + high) / 2,
            "interval": [low, high],
            "confidence": 0.95,
            "delta": 1e-5,
        }
        planned = made(dp_target_epsilon=2.0)
        said = statement.in_words(statement.content(planned, 50, audit))
        return " ".join(said.split())

    assert "not more than promised" in words(0.1, 0.9)
    assert "by less than its error" in words(1.0, 5.0)
    assert "something is broken" in words(2.5, 5.0)


def test_secure_noise_is_accounted_for_as_discrete():
    planned = made(dp_secure_noise=True, dp_noise_multiplier=0.8, dp_delta=1e-5)
    setting = Setting("discrete_gaussian", "poisson", 1000, 50, 50)
    assert planned.setting == setting
    assert planned.accountant == "rdp"
    assert planned.epsilon(50) == accounting.epsilon(setting, 0.8, 1e-5)
    assert planned.grid.sigma >= 0.8 * planned.grid.sensitivity
    assert planned.exact_noise_key != planned.noise_key.tobytes()


def test_secure_noise_takes_the_caveats_of_numbers_off_the_statement():
    def uncovered(**options):
        said = statement.content(made(**options), 5)
        return said, " ".join(said["not_covered"])

    said, words = uncovered(dp_secure_noise=True)
    assert "float32" not in words
    # What is left is said: cohorts are what sampling's gain rests on.
    assert "Cohorts:" in words
    assert "AES-256" in said["numbers"] and "AES-256" in statement.in_words(
        said
    )
    said, words = uncovered(
        dp_secure_noise=True, clients={"sampling": "shuffled"}
    )
    assert "float32" not in words and "Cohorts:" not in words
    said, words = uncovered()
    assert "float32" in words and said["numbers"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"name": "dp_tree", "dp_secure_noise": True},
            "dp_secure_noise=True is not used with --aggregator=dp_tree",
        ),
        (
            {"dp_secure_noise": True, "clients": {"sampling": "uniform"}},
            "--sampling=uniform is not accounted for with "
            "--aggregator=dp_gaussian --dp_secure_noise",
        ),
        (
            {"dp_secure_noise": True, "dp_accountant": "pld"},
            "--dp_accountant=pld does not know",
        ),
        (
            {"dp_secure_noise": True, "dp_noise_multiplier": 1e8},
            "--dp_noise_multiplier=1e+08: must be at most",
        ),
    ],
)
def test_secure_noise_that_is_not_proven_is_refused(options, words):
    with pytest.raises(errors.ConfigError) as raised:
        made(**options)
    assert words in str(raised.value)


def test_secure_noise_is_refused_on_tffs_worker():
    with pytest.raises(errors.ConfigError, match="--runtime=local is not used"):
        ExperimentConfig(
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=PrivacyConfig(
                dp_secure_noise=True, dp_clip=1.0, dp_noise_multiplier=1.0
            ),
            run=RunConfig(runtime="local"),
        )


def test_a_run_does_not_change_its_kind_of_noise():
    planned = made(dp_secure_noise=True)
    ledger = Ledger(planned, lambda *_: None)
    other = Ledger(made(), lambda *_: None)
    with pytest.raises(errors.ConfigError, match="mechanism"):
        other.check(json.loads(json.dumps(ledger.record(3))), 3)
