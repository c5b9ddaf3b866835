"""LoRA of GPT-2 small in PyTorch with PEFT, for `large_model_cost`.

Run by a Python that has `benchmarks/peers/peft.txt`.
"""

import argparse
import time

import peft
import torch
import transformers

from benchmarks.large_model_cost import BATCH, LENGTH, RANK, Memory, told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = Memory()
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    model = model.to(getattr(torch, options.dtype))
    lora = peft.LoraConfig(
        r=RANK,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(model, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=1e-3)
    ids = torch.randint(50257, [BATCH, LENGTH])
    seconds = []
    for _ in range(options.steps + 1):
        began = time.process_time()
        adam.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=ids).loss.backward()
        adam.step()
        seconds.append(time.process_time() - began)
    told(seconds, memory)


if __name__ == "__main__":
    main()
