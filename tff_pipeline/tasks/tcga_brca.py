"""The task of TCGA-BRCA: six regions, FLamby's Cox regression."""

import functools

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import tcga_brca
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import linear
from tff_pipeline.objectives import outputs, survival
from tff_pipeline.tasks.task import Task


def tcga_brca_cox(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting early death from 39 features.

    Data, split and model (40 parameters) are those of FLamby's Fed-TCGA-BRCA
    (Ogier du Terrail et al. 2022): a linear score, trained with Cox's partial
    likelihood over the patients of a batch, and judged by the concordance
    index, "c_index".

    The exported model takes "patient", float32 [batch, 39], the features in the
    order of `brca.csv`.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    data_dir = options.required_data_dir(
        "the folder of FLamby's files brca.csv and train_test_split.csv"
    )
    train, test, owners, test_owners = tcga_brca.load(data_dir)
    data = split(
        train, test, options, seed, owners=owners, test_owners=test_owners
    )
    return Task(
        "tcga_brca_cox",
        **vars(data),
        model_fn=functools.partial(
            linear.regression, tcga_brca.NUM_FEATURES, 1, "patient"
        ),
        loss_fn=survival.CoxLoss,
        # The c-index is no mean over examples.
        metrics_fn=list,
        set_metrics={"c_index": survival.concordance_index},
        input_name="patient",
        outputs_fn=outputs.hazard_outputs,
    )
