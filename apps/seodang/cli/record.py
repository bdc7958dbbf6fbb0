"""The page of the bundled students, rendered from the records of the jobs that made them."""

from pathlib import Path

from google.protobuf import json_format

from seodang.api.distill.v1 import job_pb2
from seodang.cli.contestants import cells, verdict


def write_page(folder: Path) -> Path:
    """Writes ``folder/README.md`` from every ``folder/*/record.json``; returns the page."""
    records = [json_format.Parse(path.read_text(), job_pb2.Job()) for path in sorted(folder.glob("*/record.json"))]
    lines = [
        "# The bundled students",
        "",
        "Each was distilled from [the bundled teacher](../teacher-mini/README.md) by `make students`: through the",
        "distillation service, from the job of its name in [jobs/](jobs). This page is rendered from the record that",
        "each run left beside its weights; nothing here is typed by hand. Each folder holds the student's own card,",
        "its lineage and a signature, which `seodang verify models/students/NAME --teacher models/teacher-mini` checks",
        "without a network.",
    ]
    for record in records:
        lines += ["", f"## {record.spec.student}", "", verdict(record.result.measurements), ""]
        lines += _measurements(record)
        lines += ["", *_facts(record)]
    page = folder / "README.md"
    page.write_text("\n".join([*lines, ""]))
    return page


def _measurements(record: job_pb2.Job) -> list[str]:
    metric = record.result.measurements[0].metric
    heading = f"| contestant | parameters | {metric} | 95 % interval | KL to teacher | same first choice | examples |"
    rows = [f"| {' | '.join(cells(each))} |" for each in record.result.measurements]
    return [heading, "|---|---|---|---|---|---|---|", *rows]


def _facts(record: job_pb2.Job) -> list[str]:
    cost, checks = record.result.cost, record.result.verdict.checks
    gate = "; ".join(
        f"{check.name} {check.value:.3g} against {check.threshold:.3g}: {'passed' if check.passed else 'MISSED'}"
        for check in checks
    )
    return [
        f"- Data: {record.spec.data.corpus or record.spec.data.file}; seed {record.spec.seed}.",
        f"- Gate: {gate or 'none'}.",
        f"- Cost: {cost.teacher_positions:,} positions scored by the teacher in {cost.scoring_s:,.0f} s, "
        f"{cost.training_tokens:,} tokens trained on in {cost.training_s:,.0f} s (all contestants), "
        f"about {cost.training_flops:.2g} FLOPs.",
    ]
