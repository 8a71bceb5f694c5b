"""What somebody with plain `transformers` does, of whichever version is on the path; nothing of Longhaul's is imported.

`python hugging_face.py save FOLDER` saves small models of Llama-3's kinds below FOLDER, one folder each.
`python hugging_face.py load FOLDER...` loads models and prints what they turn out to be, a line of JSON for each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

WORDS = 128_000
"""Tokens before the special ones: so these have the ids that Llama-3's have."""

NAMED = {0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 8: "eom_id", 9: "eot_id"}
SPECIAL = [f"<|{NAMED.get(place, f'reserved_special_token_{place}')}|>" for place in range(256)]

TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)

LLAMA_3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

KINDS: dict[str, dict[str, Any]] = {
    "llama-3-instruct": {"max_position_embeddings": 8192, "eos_token_id": 128_009},
    "llama-3.1-instruct": {
        "max_position_embeddings": 131_072,
        "eos_token_id": [128_001, 128_008, 128_009],
        "rope_scaling": LLAMA_3_SCALING,
    },
}
STOPS = {"llama-3-instruct": [128_001, 128_009], "llama-3.1-instruct": [128_001, 128_008, 128_009]}


def tokenizer_of(length: int) -> FastTokenizer:
    """A tokenizer of Llama-3's form and ids, whose words are bytes and fillers."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"filler{number}" for number in range(WORDS - len(alphabet))]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *fillers])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A", pair=f"{SPECIAL[0]} $A {SPECIAL[0]} $B", special_tokens=[(SPECIAL[0], WORDS)]
    )
    return FastTokenizer(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token="<|eot_id|>",
        additional_special_tokens=["<|eom_id|>"],
        chat_template=TEMPLATE,
        model_max_length=length,
    )


def save(folder: Path) -> None:
    """Saves a small model of each kind, in the files that this version writes."""
    for number, (kind, settings) in enumerate(KINDS.items()):
        torch.manual_seed(number)
        config = LlamaConfig(
            vocab_size=WORDS + len(SPECIAL),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.2,
            bos_token_id=WORDS,
            **{"rope_theta": 500_000.0, **settings},
        )
        model = LlamaForCausalLM(config).bfloat16()
        model.generation_config = GenerationConfig(
            bos_token_id=WORDS, eos_token_id=STOPS[kind], do_sample=True, temperature=0.6, top_p=0.9
        )
        model.save_pretrained(folder / kind)
        tokenizer = tokenizer_of(settings["max_position_embeddings"])
        tokenizer("a text", truncation=True, max_length=4)  # leaves its mark in what is saved
        tokenizer.save_pretrained(folder / kind)


def load(folder: Path) -> dict[str, Any]:
    """What a model folder turns out to be."""
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto").eval()
    saved_as = str(next(model.parameters()).dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    length = model.config.max_position_embeddings
    chat = [{"role": "user", "content": "Is it so?"}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    long = tokenizer("ab" * length, truncation=True)["input_ids"]
    tokens = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    generated = model.generate(tokens, max_new_tokens=4, attention_mask=torch.ones_like(tokens))
    with torch.no_grad():
        logits = model.float()(tokens).logits[0, -1, :8]
    rotary = model.model.rotary_emb
    frequencies = [float(value) for value in rotary.inv_freq.double()]
    return {
        "transformers": transformers.__version__,
        "dtype": saved_as,
        "maxPositionEmbeddings": length,
        "ropeType": rotary.rope_type,
        "frequencies": frequencies,
        "stops": model.generation_config.eos_token_id,
        "configStops": model.config.eos_token_id,
        "prompt": prompt,
        "promptTokens": tokens[0].tolist(),
        "cutTo": len(long),
        "modelMaxLength": tokenizer.model_max_length,
        "generated": generated.shape[1] - tokens.shape[1],
        "logits": [float(value) for value in logits],
        "endOfTurn": tokenizer.eos_token,
        "withoutSpecial": tokenizer.decode(tokenizer("Is it?<|eom_id|>")["input_ids"], skip_special_tokens=True),
    }


if __name__ == "__main__":
    command, *folders = sys.argv[1:]
    if command == "save":
        save(Path(folders[0]))
    else:
        for name in folders:
            print(json.dumps(load(Path(name))), flush=True)
