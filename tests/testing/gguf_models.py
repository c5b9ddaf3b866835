"""Writes tiny Llama-type models as GGUF files, by the library's own writer."""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, LENGTH = 32, 64, 2, 4, 2, 48
# The characters that stand for bytes in byte-level BPE (Radford et al. 2019).
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [
    chr(byte if byte in _PRINTABLE else 256 + place)
    for byte, place in zip(
        range(256), np.cumsum([b not in _PRINTABLE for b in range(256)]) - 1
    )
]
SPECIAL = ["<|end|>", "<|begin|>"]
MERGES = ["Ġ w", "h e", "l l", "1 2"]
TOKENS = [
    *SPECIAL,
    *BYTES,
    *(merge.replace(" ", "") for merge in MERGES),
    "<x>",
]


def tensors(seed=0, untied=False):
    """Name -> numbers as Hugging Face has them: half-split positions."""
    draw = np.random.default_rng(seed)
    head = WIDTH // HEADS
    shapes = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,)}
    for block in range(LAYERS):
        shapes |= {
            f"blk.{block}.{name}": shape
            for name, shape in {
                "attn_norm": (WIDTH,),
                "attn_q": (HEADS * head, WIDTH),
                "attn_k": (KV_HEADS * head, WIDTH),
                "attn_v": (KV_HEADS * head, WIDTH),
                "attn_output": (WIDTH, HEADS * head),
                "ffn_norm": (WIDTH,),
                "ffn_gate": (HIDDEN, WIDTH),
                "ffn_up": (HIDDEN, WIDTH),
                "ffn_down": (WIDTH, HIDDEN),
            }.items()
        }
    if untied:
        shapes["output"] = (len(TOKENS), WIDTH)
    return {
        f"{name}.weight": draw.standard_normal(shape).astype("f4")
        for name, shape in shapes.items()
    }


def interleaved(matrix, heads):
    """As llama.cpp's converter stores queries and keys."""
    size = matrix.shape[0] // heads // 2
    rows = [
        matrix[head * 2 * size + half * size + place]
        for head in range(heads)
        for place in range(size)
        for half in range(2)
    ]
    return np.stack(rows)


def metadata(**changes):
    """Key -> value; a change to `None` leaves it out, "__" stands for "."."""
    values = {
        "general.architecture": "llama",
        "llama.block_count": LAYERS,
        "llama.context_length": LENGTH,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "llama.rope.freq_base": 5_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [
            *[3] * len(SPECIAL),
            *[1] * (len(TOKENS) - len(SPECIAL) - 1),
            4,
        ],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
    }
    values |= {key.replace("__", "."): each for key, each in changes.items()}
    return {key: each for key, each in values.items() if each is not None}


def write(path, arrays=None, kind=Kind.F32, **changes):
    """Writes a file; vectors are F32 and matrices are of `kind`."""
    values = metadata(**changes)
    writer = gguf.GGUFWriter(path, values.pop("general.architecture"))
    for key, value in values.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, array in (tensors() if arrays is None else arrays).items():
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[-2])
        if heads:
            array = interleaved(array, heads)
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(
                name, gguf.quants.quantize(array, kind), raw_dtype=kind
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
