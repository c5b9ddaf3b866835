r"""Computes the privacy of a setting, or the noise that a target needs.

python scripts/privacy.py --population=3383 --cohort_size=120 --rounds=100 \
    --noise_multiplier=1.2 --delta=1e-5

Answers without TensorFlow. With --target_epsilon it finds the noise multiplier;
with --max_noise too, the smallest cohort that keeps the target with no more
noise a client. --curve=FILE.png draws epsilon over the rounds.
"""

from tff_pipeline.flags import tools


def define_flags() -> None:
    """Defines the flags of this command."""
    tools.define_privacy_flags()


def main() -> None:
    """Prints the answer."""
    values = tools.privacy_question()
    # Here and not above: a mistyped flag is answered at once.
    from tff_pipeline.privacy.question import Question, answer

    print(answer(Question.from_flags(values)))
