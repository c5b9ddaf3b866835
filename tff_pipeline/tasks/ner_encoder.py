"""The task of named entities by a pretrained encoder of pieces of words."""

import functools

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import pieces
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.packing import Cut
from tff_pipeline.datasets.readers.conll import Sentences
from tff_pipeline.datasets.tags import Tags
from tff_pipeline.models import tagger
from tff_pipeline.models.transformer.encoder import TokenTagger
from tff_pipeline.objectives import tagging
from tff_pipeline.objectives.sequence import TokenAccuracy, TokenCrossEntropy
from tff_pipeline.tasks import encoder, tagged_sentences
from tff_pipeline.tasks.encoder import Pretrained
from tff_pipeline.tasks.task import Task

_NOTES = (
    "Tags are of words' first pieces, each piece's best, and a stray I- is "
    "read as B-, as seqeval does by default."
)


def ner_encoder(options: DataConfig, seed: int) -> Task:
    """Returns the task of tagging entities with a pretrained encoder.

    The data, their clients and the scores are those of `ner.ner_tagger`. A word
    is cut into the pieces of the encoder's tokenizer, and its tag is learned
    and found at the first of them (Devlin et al. 2019, section 5.3); nothing
    else is made of the clients' words. The exported model takes "tokens", the
    ids of pieces, for a graph of TensorFlow cannot cut words as the tokenizer
    does.

    Args:
      options: The data files, how their examples are spread over clients, and
        in `options.model` the encoder.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    corpus, parts, tags, descriptions = tagged_sentences.read(options)
    pretrained = encoder.load(options.model, seed)
    examples, cuts = zip(*(_examples(part, tags, pretrained) for part in parts))
    outputs = len(tags)
    lost = sum(cuts, Cut()).describe("sentence", "word")
    words = encoder.training_words(pretrained, outputs)
    return Task(
        options.task,
        **vars(tagged_sentences.spread(examples, parts, options, seed)),
        **encoder.task_fields(pretrained, options.model),
        model_fn=functools.partial(
            TokenTagger,
            pretrained.base,
            pretrained.training,
            outputs,
            pretrained.tokenizer.padding,
        ),
        loss_fn=TokenCrossEntropy,
        metrics_fn=lambda: [TokenAccuracy()],
        set_metrics=tagging.piece_metrics(tags),
        set_output_fn=tagger.decode,
        outputs_fn=functools.partial(tagging.piece_outputs, tags),
        classes=tags.names,
        fitted_columns={}
        if "tag" in descriptions.flags
        else {"tag": "categories_file"},
        padding_label=0,
        notes=" ".join(filter(None, (corpus.notes, words, _NOTES, lost))),
    )


def _examples(
    part: Sentences, tags: Tags, pretrained: Pretrained
) -> tuple[Examples, Cut]:
    """Returns pieces, the tags of words at their first ones, and what is lost.

    Returns:
      (x and y, int32 [sentences, length]; what did not fit).
    """
    cut = pieces.word_pieces(
        part.tokens, pretrained.tokenizer, pretrained.length
    )
    number = {name: place for place, name in enumerate(tags.names)}
    labels = ([number[tag] for tag in each] for each in part.tags)
    return Examples(cut.x, pieces.piece_labels(cut.words, labels)), cut.cut
