"""TFF's own clients as the data of a task: their folder, and their split."""

import functools
from collections.abc import Callable
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import tff_data
from tff_pipeline.datasets.federation.client_data import (
    ClientDataExamples,
    Encode,
)
from tff_pipeline.datasets.federation.pooled import pooled
from tff_pipeline.datasets.federation.split import (
    Split,
    draw_clients,
    with_validation,
)


def data_folder(
    name: str, options: DataConfig, file: str, too_many_to_test: bool = False
) -> Optional[str]:
    """Returns the folder of TFF's files; `None` for made-up clients.

    Args:
      name: The task's name, for errors.
      options: The task's options.
      file: The name of TFF's file.
      too_many_to_test: True if the test set does not fit into memory, so that
        `--max_test_examples` must be set.

    Raises:
      ConfigError: If the options do not go with TFF's clients.
    """
    if options.partition != "natural":
        raise errors.ConfigError(
            f"--partition={options.partition} is not used with --task={name}, "
            "whose clients are TFF's; leave it out."
        )
    if options.tff_data == "synthetic":
        if options.data_dir is not None:
            raise errors.ConfigError(
                f"--data_dir={options.data_dir} is not used with "
                "--tff_data=synthetic, whose clients are made up; leave one "
                "out."
            )
        return None
    data_dir = options.required_data_dir(
        f"the folder where {file} lies or is fetched to from "
        f"{tff_data.ORIGIN}{file}.lzma; --tff_data=synthetic tries "
        "the task on made-up clients"
    )
    if too_many_to_test and options.max_test_examples is None:
        raise errors.ConfigError(
            f"--task={name} needs --max_test_examples, such as 10000: there "
            "are 16,586,035 test examples, which do not fit into memory."
        )
    return data_dir


def split(
    name: str,
    options: DataConfig,
    seed: int,
    parts: tff_data.Parts,
    encode: Encode,
) -> Split:
    """Splits TFF's clients into those that train, test and stay unseen.

    Args:
      name: The task's name, for errors.
      options: How many clients and examples take part.
      seed: The experiment's seed, which draws the clients.
      parts: TFF's clients, as `datasets.tff_data` loads them.
      encode: Turns a client's raw tensors into (x, y).

    Raises:
      ConfigError: If there are not as many clients to hold out.
      DataError: If there is no example to hold out for validation.
    """
    members: Callable[..., Any] = functools.partial(
        ClientDataExamples, encode=encode, seed=seed
    )
    most = options.max_test_examples
    train_ids, test_ids = parts.train.client_ids, parts.test.client_ids
    unseen = None
    if options.unseen_clients:
        if not parts.testers_train or parts.held_out is not None:
            raise errors.ConfigError(
                f"--unseen_clients={options.unseen_clients} is not used with "
                f"--task={name}, whose data hold clients out already; leave "
                "it out."
            )
        held_out = draw_clients(
            train_ids, options.unseen_clients, seed
        ).tolist()
        # On all that they have.
        both = [parts.train, parts.test]
        unseen = members(both, client_ids=held_out)
        train_ids = sorted(set(train_ids) - set(held_out))
        test_ids = sorted(set(test_ids) - set(held_out))
    testers = members([parts.test], client_ids=test_ids)
    test, used = pooled(testers, most, seed)
    testers = members([parts.test], client_ids=used)
    if parts.held_out is not None:
        ids = parts.held_out.client_ids
        others = members([parts.held_out], client_ids=ids)
        _, used = pooled(others, most, seed)
        unseen = members([parts.held_out], client_ids=used)
    divided = Split(
        members(
            [parts.train],
            client_ids=train_ids,
            most=options.max_examples_per_client,
        ),
        test,
        testers if parts.testers_train else None,
        unseen if parts.testers_train else testers,
    )
    return with_validation(divided, options, seed)
