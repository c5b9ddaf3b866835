"""Rules and steps on the rows of a cohort: one row a client that came.

A mean needs a running sum of messages; an order statistic, a distance between
two clients, and an attack that knows all honest updates need the messages
themselves. A `RowRule` makes one message of them, a `RowStep` makes rows of
rows, and `RowStep.before` puts a step before a rule, which is a rule again:

    nnm+bucketing+krum = nnm.before(bucketing.before(krum))

Both are functions of (rows, state) that are built into a TensorFlow graph.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf


class Rows(NamedTuple):
    """The messages of the clients that came in a round, in cohort order.

    A client whose update was not finite did not come.

    Attributes:
      values: A matrix of floats [clients, numbers] for each tensor of a
        message, those of hooks' extras too; all numbers are finite.
      weights: How much each client counts by what it says itself, above 0,
        float32 [clients].
      keys: The client's key of the round, int64 [clients]: no other client of
        any round has it. Of rows that are means of several, 0.
      marks: What a hook told the server of the client, int32 [clients]; 0 by
        default. Attacks mark the clients that are theirs.
      round: The number of the round, an int32 scalar.
    """

    values: Sequence[tf.Tensor]
    weights: tf.Tensor
    keys: tf.Tensor
    marks: tf.Tensor
    round: tf.Tensor

    @property
    def count(self) -> tf.Tensor:
        """Number of rows, an int32 scalar."""
        return tf.shape(self.weights)[0]


class Outcome(NamedTuple):
    """Result of a rule.

    Attributes:
      value: The aggregate, a vector [numbers] for each of `Rows.values`.
      state: The rule's state after the round.
      measured: Scalars by the names of the rule's columns.
    """

    value: Sequence[tf.Tensor]
    state: Any
    measured: Mapping[str, tf.Tensor]


class Stepped(NamedTuple):
    """Result of a step.

    Attributes:
      rows: The new rows.
      state: The step's state after the round.
      measured: Scalars by the names of the step's columns.
    """

    rows: Rows
    state: Any
    measured: Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Condition:
    """The fewest clients that a rule needs.

    Attributes:
      clients: The number of clients, 1 or above.
      words: Why, part of a sentence that begins with the rule's name, such as
        "krum needs n >= 2f + 3 clients".
    """

    clients: int = 1
    words: str = "an aggregate needs n >= 1 clients"

    def lacks(self, came: int) -> str:
        """Says why a round is lost in which too few clients came.

        >>> Condition(7, "krum needs n >= 2f + 3 clients").lacks(6)
        'krum needs n >= 2f + 3 clients, here 7, and 6 came'

        Args:
          came: The number of clients whose updates came and were finite.

        Returns:
          Part of a sentence; empty if enough came.
        """
        if came >= self.clients:
            return ""
        return f"{self.words}, here {self.clients}, and {came} came"


# What every rule needs at least.
ANYBODY = Condition()


def _nothing(_: Sequence[tf.TensorSpec]) -> Any:
    return ()


@dataclasses.dataclass(frozen=True)
class RowRule:
    """A rule that makes one message of the rows of a cohort.

    Attributes:
      apply: The function (rows, state) -> `Outcome`. It is called with
        `needs.clients` rows or more.
      needs: The fewest rows.
      initial_state: Makes the state before the first round, a nested structure
        of NumPy arrays, from the specs [numbers] of a message's tensors.
      columns: The names of the columns of metrics.csv that it measures.

    Example:
      >>> rule = RowRule(lambda rows, state: Outcome(
      ...     [tf.reduce_max(each, 0) for each in rows.values], state, {}))
      >>> outcome = rule.apply(rows_of([[1.0, 5.0], [2.0, 3.0]]), ())
      >>> outcome.value[0].numpy().tolist()
      [2.0, 5.0]
    """

    apply: Callable[[Rows, Any], Outcome]
    needs: Condition = ANYBODY
    initial_state: Callable[[Sequence[tf.TensorSpec]], Any] = _nothing
    columns: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class RowStep:
    """A step that makes rows of rows, before a rule.

    Attributes:
      apply: The function (rows, state) -> `Stepped`.
      needs: From what the rule after it needs, what both need.
      initial_state: As for `RowRule`.
      columns: As for `RowRule`.
    """

    apply: Callable[[Rows, Any], Stepped]
    needs: Callable[[Condition], Condition] = lambda inner: inner
    initial_state: Callable[[Sequence[tf.TensorSpec]], Any] = _nothing
    columns: Sequence[str] = ()

    def before(self, rule: RowRule) -> RowRule:
        """Puts the step before a rule.

        Args:
          rule: The rule, which may begin with steps itself.

        Returns:
          One rule; its state is the pair of both.
        """

        def apply(rows: Rows, state: Any) -> Outcome:
            stepped = self.apply(rows, state[0])
            outcome = rule.apply(stepped.rows, state[1])
            return Outcome(
                outcome.value,
                (stepped.state, outcome.state),
                {**stepped.measured, **outcome.measured},
            )

        return RowRule(
            apply,
            self.needs(rule.needs),
            lambda specs: (
                self.initial_state(specs),
                rule.initial_state(specs),
            ),
            (*self.columns, *rule.columns),
        )


def rows_of(*matrices: Any) -> Rows:
    """Makes rows that count the same, to try a rule with.

    Args:
      *matrices: Of each tensor of a message the clients' values, [clients,
        numbers].

    >>> rows_of([[1.0, 2.0], [3.0, 4.0]]).count.numpy()
    2
    """
    values = [tf.convert_to_tensor(each, tf.float32) for each in matrices]
    count = tf.shape(values[0])[0]
    return Rows(
        values,
        tf.ones([count]),
        tf.range(tf.cast(count, tf.int64)),
        tf.zeros([count], tf.int32),
        tf.constant(1),
    )
