"""The optimizer step: loss over valid tokens however the batch is cut, schedule by tokens, no update on bad numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from longhaul_trainer.contracts import Numerics, Schedule
from longhaul_trainer.errors import DataFailure, NumericsFailure
from longhaul_trainer.model import loss as loss_module
from longhaul_trainer.model.llama import build_model, hidden_states
from longhaul_trainer.model.loss import IGNORE, cross_entropy_sum
from longhaul_trainer.model.parameters import weights_digest
from longhaul_trainer.train.optim import adamw, learning_rate
from longhaul_trainer.train.step import LossMean, StepInterrupted, StepResult, loss_limit, train_step
from trainer_support import OPTIMIZER, batch, small_config, small_model

FIXTURE = Path(__file__).with_name("fixtures") / "schedule.json"


def rows(count: int = 4, seed: int = 1) -> tuple[torch.Tensor, list[list[tuple[int, int]]]]:
    torch.manual_seed(seed)
    cuts = [[(0, 32)], [(0, 5), (5, 32)], [(0, 31), (31, 32)], [(0, 16), (16, 32)]]
    return torch.randint(0, 64, (count, 32)), cuts[:count]


class TestLoss:
    def test_it_is_the_cross_entropy_over_valid_tokens(self) -> None:
        torch.manual_seed(0)
        hidden, weight = torch.randn(2, 6, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
        labels = torch.randint(0, 16, (2, 6))
        labels[0, 3] = labels[1, 5] = IGNORE
        ours = cross_entropy_sum(hidden, weight, labels)
        gradients = torch.autograd.grad(ours * 0.5, (hidden, weight))
        expected = F.cross_entropy((hidden @ weight.T).flatten(0, 1), labels.flatten(), reduction="sum")
        torch.testing.assert_close(ours, expected)
        for got, want in zip(gradients, torch.autograd.grad(expected * 0.5, (hidden, weight)), strict=True):
            torch.testing.assert_close(got, want)

    def test_chunks_of_the_head_do_not_change_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        hidden, weight = torch.randn(50, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
        labels = torch.randint(0, 16, (50,))
        whole = cross_entropy_sum(hidden, weight, labels)
        monkeypatch.setattr(loss_module, "CHUNK_BYTES", 7 * 16 * 4)
        chunked = cross_entropy_sum(hidden, weight, labels)
        torch.testing.assert_close(chunked, whole)
        for got, want in zip(
            torch.autograd.grad(chunked, (hidden, weight)), torch.autograd.grad(whole, (hidden, weight)), strict=True
        ):
            torch.testing.assert_close(got, want)

    def test_micro_batches_with_unequal_valid_counts_equal_one_large_batch(self) -> None:
        tokens, bounds = rows()
        results = []
        for cut in ([4], [1, 3], [1, 1, 1, 1]):
            model = small_model()
            optimizer = adamw(model.named_parameters(), OPTIMIZER)
            starts = [sum(cut[:index]) for index in range(len(cut))]
            batches = [
                batch(tokens[start : start + size], bounds[start : start + size])
                for start, size in zip(starts, cut, strict=True)
            ]
            results.append((train_step(model, optimizer, batches, 1e-3, 1.0), model))
        (whole, reference), others = results[0], results[1:]
        for result, model in others:
            assert result.valid_tokens == whole.valid_tokens
            assert result.loss == pytest.approx(whole.loss, rel=1e-6)
            assert result.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-5)
            for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-4)

    def test_only_masked_in_tokens_are_predicted(self) -> None:
        tokens, bounds = rows(1)
        mask = torch.zeros_like(tokens)
        mask[0, 10:13] = 1
        labels = batch(tokens, bounds, mask).labels
        assert (labels[0] != IGNORE).nonzero().flatten().tolist() == [9, 10, 11]
        assert labels[0, 9:12].tolist() == tokens[0, 10:13].tolist()


class TestLossMean:
    """What the loss is a mean of changes neither with the cut into micro-batches, nor what else a step does."""

    CUTS = ([4], [1, 3], [1, 1, 1, 1])

    def masked(self) -> tuple[torch.Tensor, list[list[tuple[int, int]]], torch.Tensor]:
        """Four rows of very different numbers of trained tokens, one of them with none."""
        tokens, bounds = rows()
        mask = torch.zeros_like(tokens)
        mask[0, 4:6], mask[1, :], mask[3, 20:] = 1, 1, 1
        return tokens, bounds, mask

    def stepped(self, mean: LossMean, cut: list[int]) -> tuple[StepResult, LlamaForCausalLM]:
        tokens, bounds, mask = self.masked()
        model = small_model()
        starts = [sum(cut[:index]) for index in range(len(cut))]
        batches = [
            batch(tokens[at : at + size], bounds[at : at + size], mask[at : at + size])
            for at, size in zip(starts, cut, strict=True)
        ]
        optimizer = adamw(model.named_parameters(), OPTIMIZER)
        return train_step(model, optimizer, batches, 1e-3, 1e9, mean=mean), model

    def row_sums(self) -> tuple[list[float], list[int]]:
        tokens, bounds, mask = self.masked()
        whole, model = batch(tokens, bounds, mask), small_model()
        with torch.no_grad():
            logits = model.lm_head(hidden_states(model, whole.tokens, whole.documents))
            losses = F.cross_entropy(logits.transpose(1, 2), whole.labels, ignore_index=IGNORE, reduction="none")
        return losses.sum(dim=1).tolist(), (whole.labels != IGNORE).sum(dim=1).tolist()

    def expected(self, mean: LossMean) -> float:
        sums, counts = self.row_sums()
        match mean.kind:
            case "tokens":
                return sum(sums) / sum(counts)
            case "rows":
                means = [total / count for total, count in zip(sums, counts, strict=True) if count > 0]
                return sum(means) / len(means)
            case "running-average":
                return sum(sums) / (len(sums) * (mean.valid_tokens + sum(counts)) / (mean.rows + len(sums)))

    @pytest.mark.parametrize("cut", CUTS, ids=str)
    @pytest.mark.parametrize(
        "mean",
        [
            LossMean(),
            LossMean("rows"),
            LossMean("running-average"),
            LossMean("running-average", valid_tokens=1000, rows=12),
        ],
        ids=["tokens", "rows", "the first step's running average", "a later step's running average"],
    )
    def test_it_is_what_it_says_however_the_batch_is_cut(self, mean: LossMean, cut: list[int]) -> None:
        result, model = self.stepped(mean, cut)
        assert result.loss == pytest.approx(self.expected(mean), rel=1e-5)
        whole, reference = self.stepped(mean, [4])
        assert result.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
        for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-3)

    def test_the_gradient_is_that_of_the_loss(self) -> None:
        """Gradients scale with the loss where only the divisor differs."""
        tokens, running = self.stepped(LossMean(), [4])[0], self.stepped(LossMean("running-average", 1000, 12), [4])[0]
        assert running.gradient_norm / tokens.gradient_norm == pytest.approx(running.loss / tokens.loss, rel=1e-4)
        assert self.stepped(LossMean("running-average"), [4])[0].loss == pytest.approx(tokens.loss, rel=1e-6)

    def test_the_three_differ(self) -> None:
        means = (LossMean(), LossMean("rows"), LossMean("running-average", 1000, 12))
        assert len({round(self.expected(mean), 4) for mean in means}) == 3


class TestSchedule:
    schedule = Schedule(peak=1e-3, floor=1e-4, warmup_tokens=100, total_tokens=1100)

    @pytest.mark.parametrize(("tokens", "rate"), [(50, 5e-4), (100, 1e-3), (600, 5.5e-4), (1100, 1e-4), (5000, 1e-4)])
    def test_it_warms_up_linearly_and_falls_as_a_cosine_to_its_floor(self, tokens: int, rate: float) -> None:
        assert learning_rate(self.schedule, tokens) == pytest.approx(rate)

    @pytest.mark.parametrize("case", json.loads(FIXTURE.read_text(encoding="utf-8")), ids=lambda case: case["name"])
    def test_it_is_the_schedule_that_plans_show(self, case: dict[str, Any]) -> None:
        """`test/unit/domain/schedule.test.ts` holds `src/domain/walk/schedule.ts` to the same fixture."""
        schedule = Schedule.model_validate(case["schedule"])
        for point in case["points"]:
            assert learning_rate(schedule, point["tokens"]) == pytest.approx(point["learningRate"], rel=1e-12)

    def test_without_warm_up_it_starts_at_the_peak(self) -> None:
        assert learning_rate(self.schedule.model_copy(update={"warmup_tokens": 0}), 0) == 1e-3


class TestSpikes:
    limits = Numerics(spike_factor=2.0, spike_window_steps=3)

    @pytest.mark.parametrize(
        ("losses", "limit"),
        [
            ([], math.inf),
            ([4.0, 4.0], math.inf),
            ([9.0, 4.0, 3.0, 2.0], 6.0),
            ([0.0, 0.0, 0.0], math.inf),
            ([0.0] * 50, math.inf),
            ([4.0, 0.0, 3.0, 0.0, 2.0, 0.0], 6.0),
        ],
    )
    def test_the_limit_is_judged_by_losses_of_steps_that_learned(self, losses: list[float], limit: float) -> None:
        assert loss_limit(self.limits, losses) == limit

    def test_without_settings_nothing_is_a_spike(self) -> None:
        assert loss_limit(None, [1.0] * 10) == math.inf


class TestOptimizer:
    def test_norms_are_not_decayed(self) -> None:
        optimizer = adamw(small_model().named_parameters(), OPTIMIZER)
        decay = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in optimizer.param_groups}
        assert decay == {0.1: {2}, 0.0: {1}}

    def test_norms_are_decayed_when_asked_for_and_biases_never(self) -> None:
        config = small_config()
        config.attention_bias = True
        named = dict(build_model(config).named_parameters())
        names = {id(parameter): name for name, parameter in named.items()}
        optimizer = adamw(named.items(), OPTIMIZER.model_copy(update={"decay_norms": True}))
        left_out = [group for group in optimizer.param_groups if group["weight_decay"] == 0.0]
        assert {names[id(p)] for group in left_out for p in group["params"]} == {
            n for n in named if n.endswith(".bias")
        }

    def test_numbers_that_are_not_finite_change_nothing(self) -> None:
        model = small_model()
        optimizer = adamw(model.named_parameters(), OPTIMIZER)
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight[0, 0] = math.inf
        before = weights_digest(dict(model.named_parameters()))
        with pytest.raises(NumericsFailure):
            train_step(model, optimizer, [batch(*rows(2))], 1e-3, 1.0)
        assert weights_digest(dict(model.named_parameters())) == before
        assert not optimizer.state

    def test_a_step_without_a_token_to_train_on_changes_nothing(self) -> None:
        """Of an AdamW step with gradients of zero, decay and the moments' momentum would be left."""
        model = small_model()
        optimizer = adamw(model.named_parameters(), OPTIMIZER)
        tokens, bounds = rows(2)
        train_step(model, optimizer, [batch(tokens, bounds)], 1e-3, 1.0)
        before = weights_digest(dict(model.named_parameters()))
        steps = {float(state["step"]) for state in optimizer.state.values()}
        empty = batch(tokens, bounds, torch.zeros_like(tokens))
        with pytest.raises(DataFailure, match="none of the step's tokens is trained on"):
            train_step(model, optimizer, [empty, empty], 1e-3, 1.0)
        assert weights_digest(dict(model.named_parameters())) == before
        assert {float(state["step"]) for state in optimizer.state.values()} == steps == {1.0}

    def test_an_empty_micro_batch_among_others_is_no_matter(self) -> None:
        tokens, bounds = rows(2)
        results = []
        for batches in (
            [batch(tokens, bounds)],
            [batch(tokens, bounds), batch(tokens, bounds, torch.zeros_like(tokens))],
        ):
            model = small_model()
            optimizer = adamw(model.named_parameters(), OPTIMIZER)
            results.append(train_step(model, optimizer, batches, 1e-3, 1.0))
        assert results[0] == results[1]

    def test_a_stop_between_micro_batches_discards_the_accumulation(self) -> None:
        model = small_model()
        optimizer = adamw(model.named_parameters(), OPTIMIZER)
        before = weights_digest(dict(model.named_parameters()))
        answers = iter([False, True])
        with pytest.raises(StepInterrupted):
            train_step(
                model, optimizer, [batch(*rows(2)), batch(*rows(2))], 1e-3, 1.0, interrupted=lambda: next(answers)
            )
        assert weights_digest(dict(model.named_parameters())) == before
        assert all(parameter.grad is None for parameter in model.parameters())
