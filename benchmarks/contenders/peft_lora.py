"""LoRA of GPT-2 small in PyTorch with PEFT, for `large_model_cost`.

Run by a Python that has `benchmarks/peers/peft.txt`; imports nothing of ours.
"""

import argparse
import json
import statistics
import threading
import time

import peft
import torch
import transformers

BATCH, LENGTH, RANK = 8, 128, 8
most = {"RssAnon": 0.0, "VmRSS": 0.0}


def look():
    while True:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                name = line.partition(":")[0]
                if name in most:
                    most[name] = max(most[name], int(line.split()[1]) / 1024)
        time.sleep(0.01)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    threading.Thread(target=look, daemon=True).start()
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
    print(
        json.dumps(
            {
                "cpu_seconds": statistics.median(seconds[1:]),
                "memory": most["VmRSS"],
                "own_memory": most["RssAnon"],
            }
        )
    )


if __name__ == "__main__":
    main()
