"""Trains the small base model that ships with the project: `python -m longhaul_base_model.train --help`.

The loop is the trainer's own step, loss, attention and optimizer. It starts from a model in which recall is laid out
(`retrieval.py`) and runs in phases, each with its mix and its learning rate schedule: first mostly lookups, trained on
their answers, then mostly text. Every batch is a pure function of the seed and the step.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_base_model import retrieval
from longhaul_base_model.data import LookupEncoder, RowMix, answers_exact, encode_documents, lookup_row, make_batch
from longhaul_base_model.texts import Document, books, digest, packages
from longhaul_base_model.tokenizer import save_tokenizer, train_tokenizer
from longhaul_trainer.checkpoint.state import Counters, load_counters, load_moments, load_weights, save_state
from longhaul_trainer.contracts import Optimizer, Schedule
from longhaul_trainer.model.attention import document_layout
from longhaul_trainer.model.llama import build_model, hidden_states
from longhaul_trainer.model.loss import cross_entropy_sum
from longhaul_trainer.train.optim import adamw, learning_rate
from longhaul_trainer.train.step import train_step

LENGTH = 256
ROWS = 32
VOCABULARY = 2048
THETA = 1e4
SEED = 17
CLIP = 1.0
OPTIMIZER = Optimizer(beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=CLIP)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: so many tokens of a mix under a schedule of its own."""

    name: str
    tokens: int
    mix: RowMix
    peak: float
    floor: float
    warmup_tokens: int


def config() -> LlamaConfig:
    """The base model's architecture."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
        initializer_range=0.05,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=1,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
    )


def read_phases(path: Path) -> list[Phase]:
    """The phases from a JSON file."""
    return [Phase(**{**entry, "mix": RowMix(**entry["mix"])}) for entry in json.loads(path.read_text(encoding="utf-8"))]


def phase_at(phases: list[Phase], tokens: int) -> tuple[Phase, int]:
    """The phase a step starts in after `tokens` tokens, and the tokens consumed before that phase."""
    before = 0
    for phase in phases:
        if tokens < before + phase.tokens:
            return phase, before
        before += phase.tokens
    raise ValueError("no phase is left")


def read_documents(arguments: argparse.Namespace) -> list[Document]:
    """Every training document: books, then npm packages, then Python packages."""
    set_aside = frozenset(arguments.set_aside.read_text(encoding="utf-8").split())
    return [
        *books(arguments.books),
        *packages(arguments.npm, "npm", set_aside),
        *packages(arguments.python, "python", set_aside),
    ]


@torch.no_grad()
def evaluate(model: LlamaForCausalLM, streams: dict[str, np.ndarray], encoder: LookupEncoder) -> dict[str, float]:
    """Exact recall on lookups of 256 tokens, and loss per token (nats) on the held-back end of each domain's stream."""
    rng = random.Random("evaluation")
    rows = [lookup_row(encoder, LENGTH, LENGTH, rng) for _ in range(32)]
    tokens = torch.tensor([row[0] for row in rows])
    layout = document_layout([row[2] for row in rows], LENGTH)
    predicted = (hidden_states(model, tokens, layout) @ model.lm_head.weight.T).argmax(-1)
    right, asked = answers_exact(predicted, tokens, [row[1] for row in rows])
    scores = {"recall": right / asked}
    for domain, stream in streams.items():
        window = torch.tensor(stream[: 32 * LENGTH].astype(np.int64)).view(32, LENGTH)
        states = hidden_states(model, window)
        loss = cross_entropy_sum(states[:, :-1], model.lm_head.weight, window[:, 1:])
        scores[domain] = float(loss) / (32 * (LENGTH - 1))
    return scores


def prepare(arguments: argparse.Namespace) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Tokenizer, str]:
    """Training streams, the stretches held back from them for evaluation, the tokenizer and the data's digest."""
    documents = read_documents(arguments)
    path = arguments.output / "tokenizer.json"
    if not path.exists():
        per_domain = {"books": 6_000_000, "code": 6_000_000, "docs": 2_000_000}
        save_tokenizer(train_tokenizer(tokenizer_sample(documents, per_domain), VOCABULARY), arguments.output, LENGTH)
    tokenizer = Tokenizer.from_file(str(path))
    streams = encode_documents(tokenizer, documents)
    held = {domain: stream[-33 * LENGTH :] for domain, stream in streams.items()}
    kept = {domain: stream[: -33 * LENGTH] for domain, stream in streams.items()}
    return kept, held, tokenizer, digest(documents)


def tokenizer_sample(documents: list[Document], per_domain: dict[str, int]) -> list[str]:
    """Texts for the tokenizer: of each domain every document's beginning, so that all are heard."""
    texts = []
    for domain, budget in per_domain.items():
        members = [document for document in documents if document.domain == domain]
        for document in members:
            texts.append(document.text[: max(2_000, budget // len(members))])
    return texts


def train(arguments: argparse.Namespace) -> None:
    """Trains to the end of the phases, resuming from the state in the output folder when there is one."""
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    phases = read_phases(arguments.phases)
    streams, held, tokenizer, data_digest = prepare(arguments)
    encoder = LookupEncoder(tokenizer)
    data = {"data": data_digest, "tokens": {d: len(s) for d, s in streams.items()}}
    print(json.dumps(data), flush=True)
    (arguments.output / "data.json").write_text(json.dumps(data) + "\n", encoding="utf-8")
    torch.manual_seed(SEED)
    model = build_model(config())
    retrieval.lay_out(model, SEED)
    optimizer = adamw(model.named_parameters(), OPTIMIZER)
    state = arguments.output / "state"
    step = tokens = 0
    if state.exists():
        load_weights(state, model)
        load_moments(state, model, optimizer)
        counters = load_counters(state)
        step, tokens = counters.step, counters.tokens
    log = (arguments.output / "log.jsonl").open("a", encoding="utf-8")
    total = sum(phase.tokens for phase in phases)
    window, since = [], time.monotonic()
    while tokens < total:
        phase, before = phase_at(phases, tokens)
        batch = make_batch(streams, encoder, phase.mix, ROWS, LENGTH, f"{SEED}/{step}")
        tokens += ROWS * LENGTH
        step += 1
        schedule = Schedule(
            peak=phase.peak, floor=phase.floor, warmup_tokens=phase.warmup_tokens, total_tokens=phase.tokens
        )
        result = train_step(
            model, optimizer, [batch], learning_rate(schedule, tokens - before), CLIP, arguments.precision
        )
        window.append(result.loss)
        if step % arguments.every == 0 or tokens >= total:
            speed = len(window) * ROWS * LENGTH / (time.monotonic() - since)
            scores = evaluate(model, held, encoder)
            entry = {
                "phase": phase.name,
                "step": step,
                "tokens": tokens,
                "loss": round(sum(window) / len(window), 4),
                "tokensPerSecond": round(speed),
                **{name: round(score, 4) for name, score in scores.items()},
            }
            print(json.dumps(entry), flush=True)
            log.write(json.dumps(entry) + "\n")
            log.flush()
            save_state(state, model, optimizer, Counters(step, tokens, step * ROWS))
            window, since = [], time.monotonic()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m longhaul_base_model.train", description=__doc__)
    result.add_argument("--output", type=Path, required=True, help="folder for tokenizer, state and log")
    result.add_argument("--phases", type=Path, required=True, help="JSON list of phases")
    result.add_argument("--books", type=Path, required=True, help="folder of .txt books")
    result.add_argument("--npm", type=Path, required=True, help="node_modules")
    result.add_argument("--python", type=Path, required=True, help="site-packages")
    result.add_argument("--set-aside", type=Path, required=True, help="file with names of packages not to read")
    result.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    result.add_argument("--threads", type=int, default=2)
    result.add_argument("--every", type=int, default=100, help="steps between evaluations and saved states")
    return result


if __name__ == "__main__":
    train(parser().parse_args())
