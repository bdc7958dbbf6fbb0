"""``make teacher``: tokenizer, tutor, training, export, measurement and card, each skipped if its result is there."""

import argparse
import time
from pathlib import Path

import pools
import recipe as recipes
import tokenizer
import tutor
from card import write_card
from evaluate import write_scores
from export import export, training_facts
from train import train


def main() -> None:
    """Build the teacher into its folder; a killed build goes on where it stopped."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/teacher"), help="intermediate files and checkpoints")
    parser.add_argument("--target", type=Path, default=here.parent, help="where the finished checkpoint goes")
    options = parser.parse_args()
    recipe = recipes.load()
    work: Path = options.work
    (work / "tutor").mkdir(parents=True, exist_ok=True)
    if not (work / "tokenizer" / "tokenizer.json").exists():
        print("build: training the tokenizer", flush=True)
        tokenizer.train(recipe.vocabulary, work / "tokenizer")
    if not (work / "tutor" / "snips.pt").exists():
        tutor.prepare(work / "tutor", recipe.seed)
    pools.prepare(recipe, work / "pools", recipe.training.processes)
    train(recipe, work)
    size = export(recipe, work, options.target)
    print(f"build: wrote {size:,} bytes of weights to {options.target}", flush=True)
    write_scores(options.target, {"training": training_facts(work, recipe.training.processes)})
    write_card(recipe, options.target)


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"build: done in {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
