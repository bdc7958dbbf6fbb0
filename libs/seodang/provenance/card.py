"""The model card of a student: README.md, rendered from the job and its result; nothing in it is typed by hand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from seodang.distillation.catalogue import find_corpus
from seodang.distillation.result import Lineage, Measurement
from seodang.distillation.spec import (
    STUDENT,
    TEACHER,
    AdapterShape,
    Captured,
    CorpusSource,
    Data,
    DatasetSource,
    JobSpec,
    Recipe,
    Shape,
)
from seodang.provenance.files import FIDELITY, FIDELITY_PAGE
from seodang.provenance.record import Provenance


def render_card(provenance: Provenance, spec: JobSpec) -> str:
    """Markdown with the front matter that model hubs read."""
    sections = [
        _front_matter(provenance, spec),
        [f"# {provenance.student}", "", _summary(provenance)],
        ["## Scores", "", *_scores(provenance.measurements)],
        ["## Gate", "", *_gate(provenance)],
        ["## Teacher", "", *_teachers(provenance)],
        ["## Data", "", *_data(provenance, spec)],
        ["## Recipe", "", *_recipe(spec, provenance.lineage)],
        ["## Cost", "", *_cost(provenance)],
        ["## Provenance", "", *_origin(provenance)],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _front_matter(provenance: Provenance, spec: JobSpec) -> list[str]:
    student = _subject(provenance, STUDENT)
    metrics = [{"type": student.metric, "value": round(student.task_score, 6)}]
    source = provenance.lineage.data.source
    dataset = {"name": source, "type": source.partition(":")[2] or source}
    result = {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": metrics}
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["distillation", "seodang", *({spec.data.language} - {""})],
        "model-index": [{"name": provenance.student, "results": [result]}],
    }
    # JSON is YAML, and needs no escaping of our own.
    return ["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()), "---"]


def _summary(provenance: Provenance) -> str:
    student, teacher = _subject(provenance, STUDENT), _subject(provenance, TEACHER)
    share = student.parameters / teacher.parameters
    return (
        f"A student of {student.parameters:,} parameters ({share:.1%} of its teacher's {teacher.parameters:,}), "
        f"distilled by Seodang: {student.metric} {_percent(student.task_score)} on {student.examples:,} held-out "
        f"examples, its teacher {_percent(teacher.task_score)}."
    )


def _scores(measurements: tuple[Measurement, ...]) -> list[str]:
    heading = ("contestant", "parameters", measurements[0].metric, "95 % interval", "cross-entropy", "KL to teacher",
               "on own text", "same first choice", "drafts accepted", "calibration error", "examples")  # fmt: skip
    rows = [
        (
            each.subject,
            f"{each.parameters:,}",
            _percent(each.task_score),
            f"{_percent(each.task_score_low)} – {_percent(each.task_score_high)}",
            f"{each.cross_entropy:.3f}",
            _nats(each.forward_kl),
            _nats(each.own_text_kl),
            _percent(each.top1_agreement),
            _percent(each.draft_acceptance),
            _percent(each.calibration_error),
            f"{each.examples:,}",
        )
        for each in measurements
    ]
    explained = (
        "Everyone answered the same held-out examples. The interval is Wilson's; cross-entropy and KL are in nats a "
        "position of the right answers as the teacher reads them, but for the KL on own text, which is the reverse one "
        "on answers that the contestant sampled itself. Drafts accepted is the chance that the teacher accepts a token "
        "which the contestant drafts for it in speculative sampling; the calibration error is how far, on average, its "
        "confidence in its likeliest token is from how often that is right. Contestants other than teacher and student "
        "are baselines: the student's shape, data, budget and seed, trained another way."
    )
    report = (
        f"The whole report, with pictures: [{FIDELITY_PAGE}]({FIDELITY_PAGE}); for machines: [{FIDELITY}]({FIDELITY})."
    )
    return [*_table(heading, rows), "", explained, "", report]


def _gate(provenance: Provenance) -> list[str]:
    verdict = provenance.verdict
    said = "The student **passed** its gate." if verdict.passed else "The student **did not pass** its gate."
    if not verdict.checks:
        return [f"{said} The job set no threshold."]
    rows = [
        (check.name, f"{check.threshold:.4g}", f"{check.value:.4g}", "passed" if check.passed else "**missed**")
        for check in verdict.checks
    ]
    return [said, "", *_table(("check", "threshold", "measured", ""), rows)]


def _teachers(provenance: Provenance) -> list[str]:
    rows = [
        (each.model, each.architecture, f"{each.parameters:,}", f"{each.weight:.3g}", f"`{each.weights_sha256}`",
         f"`{each.tokenizer_sha256}`")
        for each in provenance.lineage.teachers
    ]  # fmt: skip
    return _table(("model", "architecture", "parameters", "weight", "weights", "tokenizer"), rows)


def _data(provenance: Provenance, spec: JobSpec) -> list[str]:
    data = provenance.lineage.data
    lines = [
        f"- Source: {data.source}" + (f", language {spec.data.language}" if spec.data.language else ""),
        f"- Licences: {data.license}",
        *_sources(spec.data),
        f"- Examples: {data.train_examples:,} to train on, {data.dev_examples:,} to watch, {data.eval_examples:,} held "
        "out",
        f"- Frozen as sha256 `{data.sha256}`",
    ]
    if spec.data.noised_copies:
        lines.append(f"- Each training prompt also {spec.data.noised_copies} times with noise, labelled by the teacher")
    return lines


def _sources(data: Data) -> Iterator[str]:
    if isinstance(data.source, CorpusSource):
        for source in find_corpus(data.source.name).sources:
            if data.language in ("", source.language):
                yield f"    - {source.name}, {source.language}, {source.license}"
    elif isinstance(data.source, DatasetSource) and data.source.captured is not None:
        yield from _captured(data.source.captured)


def _captured(captured: Captured) -> Iterator[str]:
    pieces = ", ".join(f"{count:,} {kind}" for kind, count in sorted(captured.redactions.items())) or "none found"
    yield "    - Captured traffic: what people asked a student, kept with their consent; the teacher gave the answers"
    yield f"    - Consent: {'; '.join(captured.consents)}"
    models = ", ".join(captured.models)
    yield f"    - {captured.interactions:,} exchanges with {models}: {captured.prompts:,} different prompts"
    yield f"    - From {captured.first_time} to {captured.last_time}; personal data replaced: {pieces}"
    yield f"    - Frozen prompts: sha256 `{captured.sha256}`"


def _recipe(spec: JobSpec, lineage: Lineage) -> list[str]:
    budget, tokenizer_sha256 = spec.budget, lineage.student_tokenizer_sha256
    lines = [
        f"- Student: {recipe_in_words(spec.recipe)}",
        *(f"- Baseline {each.name}: {recipe_in_words(each.recipe)}" for each in spec.baselines),
        f"- Shape: {_fields(_without_path(spec.shape))}",
        *([] if lineage.base is None else [f"- Base: {lineage.base.name}, sha256 `{lineage.base.sha256}`"]),
        "- Tokenizer: " + (f"its own, sha256 `{tokenizer_sha256}`" if tokenizer_sha256 else "the teacher's"),
        f"- Budget: {budget.steps:,} steps of {budget.tokens_per_step:,} tokens, {budget.optimizer}, learning rate "
        f"{budget.learning_rate:g}, weight decay {budget.weight_decay:g}, warm-up {budget.warmup_fraction:.0%}, in "
        f"{lineage.training_dtype} on float32 parameters",
        f"- Seed: {spec.seed}",
    ]
    return [*lines, "", "Complete, as the job had it: [job.json](job.json)."]


def _without_path(shape: Shape) -> Shape:
    """Where a base lay is in job.json; a reader is told which one it was."""
    return msgspec.structs.replace(shape, base=Path(shape.base).name) if isinstance(shape, AdapterShape) else shape


def recipe_in_words(recipe: Recipe) -> str:
    """How somebody was taught."""
    if recipe.kind == "no_teacher":
        return "no teacher, cross-entropy on the answers"
    beta = "" if recipe.beta is None else f", beta {recipe.beta:g}"
    return (
        f"{recipe.kind.replace('_', '-')}, {recipe.divergence.replace('_', ' ')}{beta}, temperature "
        f"{recipe.temperature:g}, cross-entropy weight {recipe.cross_entropy_weight:g}, signal {_fields(recipe.target)}"
    )


def _cost(provenance: Provenance) -> list[str]:
    cost = provenance.cost
    return [
        f"- Teacher: {cost.teacher_positions:,} positions scored in {cost.scoring_s:,.0f} s, "
        f"{cost.signal_bytes:,} bytes of signal on the wire",
        f"- Training, student and baselines: {cost.training_tokens:,} tokens in {cost.training_s:,.0f} s, about "
        f"{cost.training_flops:.2g} FLOPs",
        f"- Measuring: {cost.evaluating_s:,.0f} s",
        *([] if cost.wall_s is None else [f"- Wall time: {cost.wall_s:,.0f} s"]),
        *([] if cost.energy_kwh is None else [f"- Energy, at {cost.watts:,.0f} W: about {cost.energy_kwh:.3g} kWh"]),
        *(
            []
            if cost.price is None
            else [f"- Price, at {cost.price_per_hour:,.2f} {cost.currency} an hour: about {cost.price:,.2f}"]
        ),
    ]


def _origin(provenance: Provenance) -> list[str]:
    lineage = provenance.lineage
    return [
        f"- Job: {provenance.job}, specification sha256 `{lineage.spec_sha256}`",
        f"- Code: {lineage.code_version}, torch {lineage.torch_version}",
        f"- Student: sha256 `{lineage.student_sha256}`",
        "",
        "The same for machines is in [lineage.json](lineage.json). Every file here is signed in `model.sig`; check the",
        "whole chain, offline, against the key of whoever gave you the student:",
        "",
        "```",
        "seodang verify FOLDER --key PUBLIC_KEY.pem",
        "```",
    ]


def _subject(provenance: Provenance, subject: str) -> Measurement:
    return next(each for each in provenance.measurements if each.subject == subject)


def _fields(record: msgspec.Struct) -> str:
    return ", ".join(_given(record))


def _given(record: msgspec.Struct) -> Iterator[str]:
    yield str(record.__struct_config__.tag)
    for name, value in msgspec.structs.asdict(record).items():
        yield f"{name} {value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{name} {value}"


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.1f} %"


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
