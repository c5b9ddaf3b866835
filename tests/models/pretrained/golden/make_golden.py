"""Makes the golden files of this folder, with transformers and peft."""

import os
import sys

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

BASES = {
    "llama": (
        lambda: LlamaForCausalLM(
            LlamaConfig(
                vocab_size=20,
                hidden_size=8,
                intermediate_size=12,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=16,
                rms_norm_eps=1e-5,
                rope_theta=100_000.0,
                initializer_range=0.5,
            )
        ),
        ["q_proj", "v_proj", "down_proj"],
        "CAUSAL_LM",
    ),
    "gpt2": (
        lambda: GPT2LMHeadModel(
            GPT2Config(
                vocab_size=20,
                n_positions=16,
                n_embd=8,
                n_layer=2,
                n_head=2,
                n_inner=12,
                initializer_range=0.5,
                bos_token_id=0,
                eos_token_id=0,
            )
        ),
        ["c_attn", "mlp.c_proj"],
        "CAUSAL_LM",
    ),
    "bert": (
        lambda: BertModel(
            BertConfig(
                vocab_size=20,
                hidden_size=8,
                intermediate_size=12,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=16,
                initializer_range=0.5,
            )
        ),
        ["query", "value", "intermediate.dense"],
        "FEATURE_EXTRACTION",
    ),
}


def randomize(model):
    """Draws biases and scales too, which start as zeros and ones."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def outputs(model, ids):
    with torch.no_grad():
        return model(ids)[0].numpy()


def make(folder, family):
    model_fn, targets, task_type = BASES[family]
    torch.manual_seed(0)
    base = randomize(model_fn())
    folder = os.path.join(folder, family)
    base.save_pretrained(folder)
    state = {name: value.clone() for name, value in base.state_dict().items()}
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    of_base = outputs(base, ids)
    model = get_peft_model(
        base,
        LoraConfig(
            r=2,
            lora_alpha=5,
            lora_dropout=0.1,
            target_modules=targets,
            task_type=task_type,
            # B is drawn too, so that the adapter changes the outputs.
            init_lora_weights=False,
        ),
    ).eval()
    model.save_pretrained(folder)
    for name in ("README.md", "generation_config.json"):
        if os.path.exists(f"{folder}/{name}"):
            os.remove(f"{folder}/{name}")
    adapted = outputs(model, ids)
    merged = {
        name: value
        for name, value in model.merge_and_unload().state_dict().items()
        if not torch.equal(value, state[name])
    }
    save_file(merged, f"{folder}/merged.safetensors")
    np.savez(
        f"{folder}/outputs.npz", ids=ids.numpy(), base=of_base, adapted=adapted
    )


if __name__ == "__main__":
    for family in BASES:
        make(sys.argv[1], family)
