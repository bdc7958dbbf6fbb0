"""Measures a checkpoint on the development splits, greedily, and writes ``scores.json``."""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from mixture import prompt_text
from torch.nn import functional
from transformers import AutoTokenizer, AXK1ForCausalLM, PreTrainedTokenizerBase

from seodang.corpora import open_source
from seodang.corpora.babyai import LEVELS, drive
from seodang.tasks import Example, InvalidAnswer, assistant, robot, search
from seodang.tasks.robot import Action, RobotRequest

ROBOT_SEEDS = range(200)
_BATCH = 100
_GENERATED = 600
_OUT_OF_SCOPE = "oos"
Scores = dict[str, Any]


class Answerer:
    """A checkpoint that answers prompts greedily, many at a time."""

    def __init__(self, network: AXK1ForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        tokenizer.padding_side = "left"

    @torch.inference_mode()
    def answer(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """The answers in the order of the prompts; an answer cut off at ``max_tokens`` is returned as it is."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers = [""] * len(prompts)
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            batch = self.tokenizer([prompts[index] for index in indices], padding=True, return_tensors="pt")
            output = self.network.generate(**batch, max_new_tokens=max_tokens, do_sample=False)
            texts = self.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for index, text in zip(indices, texts, strict=True):
                answers[index] = text
        return answers

    @torch.inference_mode()
    def reply_losses(self, examples: Sequence[Example]) -> tuple[float, float]:
        """(mean loss in nats, share of tokens that are the likeliest) over all reply tokens, the end included."""
        losses, hits = [], []
        for example in examples:
            prompt = self.tokenizer(prompt_text(example))["input_ids"]
            reply = self.tokenizer(f"{example.answer}<|end|>")["input_ids"]
            logits = self.network(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
            targets = torch.tensor(reply)
            losses += functional.cross_entropy(logits, targets, reduction="none").tolist()
            hits += (logits.argmax(-1) == targets).float().tolist()
        return mean(losses), mean(hits)


def write_scores(folder: Path, extra: Scores | None = None) -> None:
    """Measure the checkpoint in ``folder`` and write ``scores.json`` beside it, with ``extra`` facts of its making."""
    network = AXK1ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    network.set_experts_implementation("eager")  # many times faster than the grouped default on a CPU
    scores = {**(extra or {}), **measure(Answerer(network, AutoTokenizer.from_pretrained(folder)))}
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


def measure(answerer: Answerer, log: Any = print) -> Scores:
    """All scores of the card."""
    scores: Scores = {}
    for name, measured in _MEASURES.items():
        started = time.monotonic()
        scores[name] = measured(answerer)
        log(f"evaluate: {name} {json.dumps(scores[name])} in {time.monotonic() - started:.0f} s", flush=True)
    return scores


def _assistant(answerer: Answerer, source: str, limit: int | None = None) -> Scores:
    examples = list(open_source(source, "dev", limit=limit))
    answers = answerer.answer([prompt_text(example) for example in examples], max_tokens=96)
    each = [assistant.score(answer, example.answer) for answer, example in zip(answers, examples, strict=True)]
    scope = [score for score, example in zip(each, examples, strict=True) if example.group != _OUT_OF_SCOPE]
    outside = [score["name"] for score, example in zip(each, examples, strict=True) if example.group == _OUT_OF_SCOPE]
    found: Scores = {
        "name": mean(score["name"] for score in scope),
        "exact": mean(score["exact"] for score in scope),
        "examples": len(scope),
    }
    if outside:
        found |= {"out_of_scope_recall": mean(outside), "out_of_scope_examples": len(outside)}
    return found


def _grounded(answerer: Answerer, source: str) -> Scores:
    examples = list(open_source(source, "dev", limit=_GENERATED))
    answers = answerer.answer([prompt_text(example) for example in examples], max_tokens=96)
    pairs = list(zip(answers, examples, strict=True))
    each = [search.score(answer, example.answer) for answer, example in pairs]
    none = [answer == search.NO_ANSWER for answer, example in pairs if example.answer == search.NO_ANSWER]
    kept = [score for score, (_, example) in zip(each, pairs, strict=True) if example.answer != search.NO_ANSWER]
    given = [answer for answer, example in pairs if example.answer != search.NO_ANSWER]
    return {
        "exact": mean(score["exact"] for score in each),
        "answerable_exact": mean(score["exact"] for score in kept),
        "answerable_citation": mean(score["citation"] for score in kept),
        "false_no_answer": mean(answer == search.NO_ANSWER for answer in given),
        "no_answer_recall": mean(none),
        "examples": len(examples),
    }


def _robot(answerer: Answerer, level: str, language: str) -> Scores:
    def policy(requests: Sequence[RobotRequest]) -> list[Action]:
        examples = [Example(tuple(robot.messages(request)), "", "", "", language) for request in requests]
        return [_action(text) for text in answerer.answer([prompt_text(example) for example in examples], max_tokens=3)]

    result = drive(level, ROBOT_SEEDS, policy, language)
    return {"success": result.success_rate, "mean_steps": result.mean_steps, "episodes": result.episodes}


def _action(text: str) -> Action:
    try:
        return robot.parse(text)
    except InvalidAnswer:
        return Action.DONE  # an invalid answer moves nothing, and the step counts


def _songys(answerer: Answerer) -> Scores:
    examples = list(open_source("songys", "dev"))
    loss, accuracy = answerer.reply_losses(examples)
    return {"token_accuracy": accuracy, "perplexity": math.exp(loss), "examples": len(examples)}


_MEASURES = {
    "clinc150": lambda answerer: _assistant(answerer, "clinc150"),
    "hwu64": lambda answerer: _assistant(answerer, "hwu64"),
    "home-ko": lambda answerer: _assistant(answerer, "home-ko", _GENERATED),
    "home-en": lambda answerer: _assistant(answerer, "home-en", _GENERATED),
    "grounded-ko": lambda answerer: _grounded(answerer, "grounded-ko"),
    "grounded-en": lambda answerer: _grounded(answerer, "grounded-en"),
    "songys": _songys,
    **{
        f"{level}-{language}": lambda answerer, level=level, language=language: _robot(answerer, level, language)
        for level in LEVELS
        for language in ("en", "ko")
    },
}


def main() -> None:
    """Measure the checkpoint in a folder and write its ``scores.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_scores(folder)


if __name__ == "__main__":
    main()
