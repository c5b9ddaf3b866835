"""Epsilons as published, in closed form, and in the order they must have."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testing.closed_forms import gaussian_delta
from tests.testing.scripts import run_script
from tests.testing.soaked import soaked
from tff_pipeline import errors
from tff_pipeline.privacy import accounting, calibration
from tff_pipeline.privacy import delta as deltas
from tff_pipeline.privacy.setting import ADJACENCIES, Setting

INTEGER_ORDERS = list(range(2, 256))


def poisson(population, cohort_size, rounds):
    return Setting("gaussian", "poisson", population, cohort_size, rounds)


def uniform(population, cohort_size, rounds):
    return Setting("gaussian", "uniform", population, cohort_size, rounds)


# The tutorials of TensorFlow Privacy on MNIST, whose unit is an example; what
# they print is the classic conversion, and the rest is of the same run.
@pytest.mark.parametrize(
    ("noise", "epochs", "classic", "improved", "exact"),
    [
        (1.1, 60, 3.008, 2.597, 2.382),
        (1.3, 15, 1.192, 0.954, 0.864),
        (0.7, 45, 7.101, 6.320, 5.639),
    ],
)
def test_tutorials_of_tensorflow_privacy(
    noise, epochs, classic, improved, exact
):
    setting = poisson(60000, 256, epochs * 60000 // 256)
    for accountant, published in (
        ("rdp_classic", classic),
        ("rdp", improved),
        ("pld", exact),
    ):
        found = accounting.epsilon(setting, noise, 1e-5, accountant)
        # Three digits, as published.
        assert found == pytest.approx(published, rel=5e-4, abs=6e-4), accountant


def test_headline_of_mcmahan_2018_table_1():
    setting = poisson(763430, 5000, 5000)
    published = {"rdp_classic": 4.634, "rdp": 4.183, "pld": 3.899}
    for accountant, epsilon in published.items():
        orders = INTEGER_ORDERS if accountant == "rdp_classic" else None
        found = accounting.epsilon(setting, 1.0, 1e-9, accountant, orders)
        assert found == pytest.approx(epsilon, abs=5e-4), accountant


# McMahan et al. 2018, table 1: population, cohort, noise -> epsilon after 1,
# 10, ..., 10^6 rounds, with delta = population^-1.1.
@pytest.mark.parametrize(
    ("population", "cohort_size", "noise", "improved"),
    [
        (10**5, 100, 1, [0.697, 0.700, 0.725, 0.774, 0.884, 1.899, 6.830]),
        (10**6, 1000, 1, [0.892, 0.895, 0.919, 0.985, 1.095, 2.130, 7.505]),
        (10**6, 1000, 3, [0.162, 0.162, 0.163, 0.166, 0.200, 0.502, 1.705]),
        (10**9, 1000, 1, [0.685, 0.685, 0.685, 0.690, 0.712, 0.712, 0.712]),
    ],
)
def test_table_1_of_mcmahan_2018(population, cohort_size, noise, improved):
    for exponent, published in enumerate(improved):
        setting = poisson(population, cohort_size, 10**exponent)
        delta = deltas.default(population)
        found = accounting.epsilon(setting, noise, delta, "rdp")
        # Three digits, as published.
        assert found == pytest.approx(published, rel=5e-4, abs=6e-4)


@pytest.mark.parametrize(
    ("cohort_size", "epsilon"), [(120, 1.986), (119, 2.004)]
)
def test_tutorial_of_tff(cohort_size, epsilon):
    # TFF's holds noise per client constant: 1.2 is that of 120 clients.
    setting = poisson(3383, cohort_size, 100)
    noise = 1.2 * cohort_size / 120
    found = accounting.epsilon(setting, noise, 1e-5, "rdp")
    assert found == pytest.approx(epsilon, abs=6e-3)
    if cohort_size == 120:
        assert found == pytest.approx(epsilon, abs=5e-4)


@pytest.mark.parametrize(
    ("noise", "cohort_size", "rounds", "epsilon"),
    [
        (0.669, 2231, 4000, 5.006),
        (0.513, 513, 1500, 4.986),
        (0.659, 2197, 3000, 4.998),
        (0.510, 510, 1200, 4.982),
        (1.396, 13958, 1500, 4.999),
    ],
)
def test_table_1_of_andrew_2021(noise, cohort_size, rounds, epsilon):
    setting = uniform(10**6, cohort_size, rounds)
    delta = deltas.default(10**6)
    found = accounting.epsilon(setting, noise, delta)
    assert found == pytest.approx(epsilon, abs=6e-4)
    assert ADJACENCIES[setting.adjacency] == ("replace one client by another")


@pytest.mark.parametrize(
    ("noise", "classic", "improved"),
    [(1.13, 19.736, 18.710), (8.83, 2.045, 1.773)],
)
def test_stack_overflow_of_dp_ftrl(noise, classic, improved):
    # One tree of 1600 rounds, in which a client takes part once.
    setting = Setting("tree", "shuffled", 342477, 100, 1600)
    assert setting.participations == 1
    for accountant, published in (("rdp_classic", classic), ("rdp", improved)):
        found = accounting.epsilon(setting, noise, 1e-6, accountant)
        assert found == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_one_release_is_the_gaussian_mechanism(noise, delta):
    setting = poisson(10, 10, 1)
    found = accounting.epsilon(setting, noise, delta, "pld")
    assert gaussian_delta(noise, found) == pytest.approx(delta, rel=2e-3)
    assert gaussian_delta(noise, found) <= delta


def test_shuffled_rounds_are_as_many_releases_as_a_client_takes_part_in():
    # Four times the same Gaussian mechanism is one of half the noise.
    setting = Setting("gaussian", "shuffled", 100, 10, 35)
    assert setting.participations == 4
    one = accounting.epsilon(poisson(10, 10, 1), 1.0, 1e-5, "pld")
    assert accounting.epsilon(setting, 2.0, 1e-5, "pld") == pytest.approx(one)


SETTINGS = st.tuples(
    st.integers(20, 10**5), st.floats(0.001, 1.0), st.integers(1, 500)
)
SLOW = settings(max_examples=5, deadline=None)


@SLOW
@given(SETTINGS, st.floats(0.5, 5.0))
def test_renyi_divergences_promise_no_less_than_the_exact_loss(drawn, noise):
    population, fraction, rounds = drawn
    setting = poisson(population, max(1, int(fraction * population)), rounds)
    exact = accounting.epsilon(setting, noise, 1e-6, "pld")
    improved = accounting.epsilon(setting, noise, 1e-6, "rdp")
    classic = accounting.epsilon(setting, noise, 1e-6, "rdp_classic")
    # The discretised loss is rounded upwards, and where epsilon is in the
    # hundreds, which promises nothing to anyone, by tens.
    if improved < 50:
        assert exact <= improved + 1e-3 * math.sqrt(rounds)
    assert improved <= classic + 1e-9


@SLOW
@given(SETTINGS, st.floats(0.5, 5.0), st.sampled_from(["poisson", "uniform"]))
def test_epsilon_falls_with_noise_and_rises_with_rounds_and_cohort(
    drawn, noise, sampling
):
    population, fraction, rounds = drawn
    cohort = max(1, int(fraction * population / 2))

    def epsilon(cohort=cohort, rounds=rounds, noise=noise):
        setting = Setting("gaussian", sampling, population, cohort, rounds)
        return accounting.epsilon(setting, noise, 1e-6, "rdp")

    found = epsilon()
    # To rounding: there are bounds that no sampling makes any better.
    hair = 1e-12 * found
    assert epsilon(noise=1.5 * noise) <= found + hair
    assert epsilon(rounds=2 * rounds) >= found - hair
    assert epsilon(cohort=2 * cohort) >= found - hair


@pytest.mark.parametrize("target", [0.1, *soaked(1.0, 50.0), 8.0])
@pytest.mark.parametrize(
    "setting",
    [
        poisson(1000, 50, 200),
        uniform(1000, 50, 200),
        Setting("tree_restart", "shuffled", 1000, 50, 200),
    ],
    ids=["poisson", "uniform", "tree_restart"],
)
def test_the_noise_that_is_found_keeps_the_target_closely(setting, target):
    noise = calibration.noise_multiplier(setting, target, 1e-5, "rdp")
    found = accounting.epsilon(setting, noise, 1e-5, "rdp")
    assert 0.998 * target <= found <= target


def tree_by_brute_force(rounds, positions):
    """Squared norm of the counts of `positions` in all nodes of a tree."""
    total = 0
    for level in range(rounds.bit_length()):
        counts = {}
        for position in positions:
            node = position >> level
            # Only nodes that are complete are ever released.
            if (node + 1) << level <= rounds:
                counts[node] = counts.get(node, 0) + 1
        total += sum(count**2 for count in counts.values())
    return total


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_a_tree_is_charged_for_the_worst_participation(
    rounds, separation, data
):
    setting = Setting(
        "tree", "min_separation", 100, 2, rounds, min_separation=separation
    )
    positions, at = [], data.draw(st.integers(0, separation - 1))
    while at < rounds:
        positions.append(at)
        at += data.draw(st.integers(separation, 2 * separation))
    event, _ = setting.events(1.0)
    charged = event.noise_multiplier**-2
    assert tree_by_brute_force(rounds, positions) <= charged * (1 + 1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mechanism": "laplace"}, "--mechanism=laplace"),
        ({"sampling": "often"}, "--sampling=often"),
        ({"cohort_size": 101}, "--cohort_size=101"),
        ({"rounds": 0}, "--rounds=0"),
        ({"mechanism": "tree"}, "choose shuffled"),
        ({"min_separation": 3}, "go together"),
        ({"sampling": "min_separation"}, "go together"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(change, words):
    fits = {
        "mechanism": "gaussian",
        "sampling": "poisson",
        "population": 100,
        "cohort_size": 10,
        "rounds": 5,
    }
    with pytest.raises(errors.ConfigError, match=words):
        Setting(**{**fits, **change})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: accounting.epsilon(s, math.nan, 1e-5), "nan"),
        (lambda s: accounting.epsilon(s, -1.0, 1e-5), "=-1.0"),
        (lambda s: accounting.epsilon(s, 1.0, 0.0), "--delta=0.0"),
        (lambda s: accounting.epsilon(s, 1.0, 1e-5, "moments"), "moments"),
        (lambda s: calibration.noise_multiplier(s, math.nan, 1e-5), "nan"),
        (lambda s: calibration.noise_multiplier(s, 0.0, 1e-5), "=0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, words):
    with pytest.raises(errors.ConfigError, match=words):
        call(poisson(100, 10, 5))


def test_without_noise_there_is_no_privacy():
    assert accounting.epsilon(poisson(100, 10, 5), 0.0, 1e-5) == math.inf


# The script.

TFF = ("--population=3383", "--cohort_size=120", "--rounds=100")


def test_the_script_answers_in_json_and_names_what_it_assumes():
    done = run_script(
        "privacy.py",
        *TFF,
        *("--noise_multiplier=1.2", "--delta=1e-5", "--format=json"),
        "--accountant=rdp",
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["epsilon"] == pytest.approx(1.986, abs=5e-4)
    assert figures["delta"] == 1e-5
    assert figures["noise_multiplier"] == 1.2
    assert figures["accountant"] == "rdp"
    assert figures["adjacency"] == "add or remove one client"
    assert figures["conversion"] == "Canonne et al. 2020"


def test_the_script_finds_the_noise_for_an_epsilon():
    done = run_script("privacy.py", *TFF, "--target_epsilon=2", "--format=json")
    figures = json.loads(done.stdout)
    assert 1.996 <= figures["epsilon"] <= 2.0


def test_the_script_finds_the_cheapest_cohort_and_draws(tmp_path):
    path = tmp_path / "curve.png"
    done = run_script(
        "privacy.py",
        *("--population=3383", "--rounds=20", "--target_epsilon=2"),
        *("--mean_noise=0.01", "--accountant=rdp", f"--curve={path}"),
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"\x89PNG")
    cohort = int(done.stdout.split("poisson, ")[1].split()[0])

    def epsilon(size):
        setting = poisson(3383, size, 20)
        delta = deltas.default(3383)
        return accounting.epsilon(setting, 0.01 * size, delta, "rdp")

    assert epsilon(cohort) <= 2 < epsilon(cohort - 1)


@pytest.mark.parametrize("sampling", ["poisson", "uniform", "shuffled"])
@pytest.mark.parametrize(
    "target", [1e-300, 5e-4, 0.3, *soaked(0.01, 8.0, 50.0), 1e12]
)
def test_every_target_is_answered_or_refused(sampling, target):
    setting = Setting("gaussian", sampling, 3383, 120, 100)
    delta = deltas.default(3383)
    noise = calibration.noise_multiplier(setting, target, delta)
    assert accounting.epsilon(setting, noise, delta) <= target
    # Where delta is so small that no noise that is allowed reaches it.
    with pytest.raises(errors.ConfigError, match="cannot be kept"):
        calibration.noise_multiplier(setting, 1e-9, 1e-9)


@given(
    st.integers(1, 6),
    st.integers(1, 30),
    st.floats(0.3, 30.0),
    st.sampled_from(["poisson", "uniform"]),
)
@SLOW
def test_sampling_never_costs_anything(cohort, rounds, noise, sampling):
    hidden = Setting("gaussian", sampling, 6, cohort, rounds)
    known = dataclasses.replace(hidden, cohorts_known=True)
    without = accounting.epsilon(known, noise, 1e-3)
    for accountant in (None, "rdp"):
        found = accounting.epsilon(hidden, noise, 1e-3, accountant)
        assert found <= without


def test_what_nothing_amplifies_is_the_closed_form():
    setting = Setting("gaussian", "shuffled", 100, 10, 35)
    for delta in (1e-9, 1e-3, 0.2):
        found = accounting.epsilon(setting, 2.0, delta)
        assert gaussian_delta(1.0, found) == pytest.approx(delta, rel=1e-6)
        assert gaussian_delta(1.0, found) <= delta
    # Delta alone suffices.
    assert accounting.epsilon(setting, 1e4, 0.2) == 0


def test_the_script_answers_a_small_target_and_refuses_a_large_delta():
    flags = ("--population=6", "--cohort_size=6", "--rounds=20")
    done = run_script("privacy.py", *TFF, "--target_epsilon=0.0005")
    assert done.returncode == 0, done.stderr
    for flag in ((), ("--delta=0.5",), ("--delta=0.1666666666666667",)):
        done = run_script("privacy.py", *flags, "--target_epsilon=8", *flag)
        assert done.returncode == 2
        (said,) = done.stderr.splitlines()
        assert "--delta" in said and "--dp_allow_large_delta" in said
    done = run_script(
        "privacy.py",
        *flags,
        *("--target_epsilon=8", "--dp_allow_large_delta"),
    )
    assert done.returncode == 0
    assert done.stdout.startswith("epsilon     No privacy, for delta is too")


def test_the_script_does_without_tensorflow():
    code = (
        "import sys; from tff_pipeline.flags import tools;"
        "tools.define_privacy_flags();"
        "from tff_pipeline.privacy import question;"
        "assert not [m for m in sys.modules if m.startswith('tensorflow')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--noise_multiplier=None and --target_epsilon=None"),
        (
            ("--noise_multiplier=1", "--target_epsilon=1"),
            "give one of the two",
        ),
        (("--noise_multiplier=nan",), "--noise_multiplier=nan"),
        (("--noise_multiplier=1", "--mean_noise=1"), "--mean_noise=1"),
        (("--noise_multiplier=1", "--sampling=x"), "--sampling=x"),
        (
            (
                "--noise_multiplier=1",
                "--sampling=uniform",
                "--accountant=pld",
            ),
            "--accountant=rdp",
        ),
    ],
)
def test_the_script_names_the_mistake(arguments, words):
    done = run_script("privacy.py", *TFF, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_zcdp_is_the_closed_form():
    # Bun and Steinke 2016, lemma 2.4 and proposition 1.3.
    setting = Setting("gaussian", "shuffled", 100, 10, 35)
    rho = 4 / (2 * 3.0**2)
    expected = rho + 2 * math.sqrt(rho * math.log(1e5))
    found = accounting.epsilon(setting, 3.0, 1e-5, "zcdp")
    assert found == pytest.approx(expected)
    assert accounting.epsilon(setting, 3.0, 1e-5, "pld") < found
    with pytest.raises(errors.ConfigError, match="--accountant=zcdp"):
        accounting.epsilon(poisson(100, 10, 35), 3.0, 1e-5, "zcdp")


@pytest.mark.parametrize("sampling", ["poisson", "uniform"])
def test_nothing_is_amplified_if_cohorts_are_known(sampling):
    hidden = Setting("gaussian", sampling, 100, 10, 20)
    known = Setting("gaussian", sampling, 100, 10, 20, cohorts_known=True)
    everyone = Setting("gaussian", "poisson", 10, 10, 20)
    epsilon = accounting.epsilon(known, 3.0, 1e-5)
    assert epsilon > 2 * accounting.epsilon(hidden, 3.0, 1e-5)
    expected = accounting.epsilon(everyone, 3.0, 1e-5)
    assert epsilon == pytest.approx(expected, rel=2e-3)


def test_what_is_too_much_to_be_told_apart_is_bounded():
    # Millions of rounds of hardly any noise: an answer, and a bound.
    found = accounting.epsilon(poisson(100, 50, 10**6), 0.5, 1e-5)
    assert found > 1e5
    assert accounting.epsilon(poisson(100, 50, 2 * 10**6), 0.5, 1e-5) > found


def discrete(population, cohort_size, rounds, sampling="poisson"):
    return Setting(
        "discrete_gaussian", sampling, population, cohort_size, rounds
    )


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_discrete_noise_is_accounted_for_by_integer_orders_alone(noise):
    """By the sum over k of a sampled release's moments, in closed form."""
    population, cohort_size, rounds, delta = 1000, 50, 80, 1e-5
    q = cohort_size / population

    def divergence(alpha):
        terms = [
            math.lgamma(alpha + 1)
            - math.lgamma(k + 1)
            - math.lgamma(alpha - k + 1)
            + k * math.log(q)
            + (alpha - k) * math.log1p(-q)
            + k * (k - 1) / (2 * noise**2)
            for k in range(alpha + 1)
        ]
        most = max(terms)
        total = sum(math.exp(term - most) for term in terms)
        return (most + math.log(total)) / (alpha - 1)

    # Canonne, Kamath, Steinke 2020, proposition 12.
    bounds = [
        rounds * divergence(alpha)
        + math.log1p(-1 / alpha)
        - math.log(delta * alpha) / (alpha - 1)
        for alpha in (*range(2, 64), 128, 256, 512)
    ]
    setting = discrete(population, cohort_size, rounds)
    found = accounting.epsilon(setting, noise, delta)
    assert found == pytest.approx(min(bounds), rel=1e-6)
    # It is a bound for the continuous one too.
    continuous = poisson(population, cohort_size, rounds)
    for accountant in ("rdp", "pld"):
        assert found >= accounting.epsilon(continuous, noise, delta, accountant)


def test_discrete_noise_without_sampling_is_concentrated_privacy():
    setting = discrete(1000, 50, 40, "shuffled")
    found = accounting.epsilon(setting, 1.0, 1e-5, "zcdp")
    rho = setting.participations / 2
    expected = rho + 2 * math.sqrt(rho * math.log(1e5))
    assert found == pytest.approx(expected)
    # The closed form of the continuous one is smaller, and not proven.
    assert accounting.epsilon(setting, 1.0, 1e-5) > accounting.epsilon(
        dataclasses.replace(setting, mechanism="gaussian"), 1.0, 1e-5
    )


def test_what_is_not_proven_of_discrete_noise_is_refused():
    with pytest.raises(errors.ConfigError, match="--accountant=rdp"):
        accounting.epsilon(discrete(1000, 50, 10), 1.0, 1e-5, "pld")
    with pytest.raises(errors.ConfigError, match="--sampling=uniform"):
        discrete(1000, 50, 10, "uniform")


@pytest.mark.parametrize("target", [0.3, 2.0, 9.0])
@pytest.mark.parametrize("sampling", ["poisson", "shuffled"])
def test_discrete_noise_is_found_for_a_target(target, sampling):
    setting = discrete(1000, 50, 80, sampling)
    noise = calibration.noise_multiplier(setting, target, 1e-5)
    found = accounting.epsilon(setting, noise, 1e-5)
    assert 0.98 * target < found <= target
