"""What a worker process says, as messages of the contract."""

from typing import Final

from seodang.api.distill.v1 import job_pb2
from seodang.distillation import CurvePoint, JobResult, Measurement, Progressed, StateChanged

_STAGES: Final = {
    "preparing": job_pb2.Progress.STAGE_PREPARING,
    "scoring": job_pb2.Progress.STAGE_SCORING,
    "training": job_pb2.Progress.STAGE_TRAINING,
    "evaluating": job_pb2.Progress.STAGE_EVALUATING,
    "gating": job_pb2.Progress.STAGE_GATING,
}


def progress(event: Progressed | StateChanged) -> job_pb2.Progress:
    """How far the job is; of a stage that has only begun, nothing more than its name is known."""
    if isinstance(event, StateChanged):
        return job_pb2.Progress(stage=_STAGES[event.stage])
    return job_pb2.Progress(
        stage=_STAGES[event.stage],
        done=event.done,
        total=event.total,
        unit=event.unit,
        rate=event.rate,
        remaining_s=event.remaining_s,
        subject=event.subject,
    )


def curve_point(event: CurvePoint) -> job_pb2.CurvePoint:
    """A point of a curve."""
    return job_pb2.CurvePoint(
        subject=event.subject,
        step=event.step,
        loss=event.loss,
        eval_loss=event.eval_loss,
        learning_rate=event.learning_rate,
        tokens_per_s=event.tokens_per_s,
    )


def job_result(result: JobResult, version: str) -> job_pb2.JobResult:
    """The result of a job whose student became ``version``."""
    cost = result.cost
    return job_pb2.JobResult(
        version=version,
        measurements=map(_measurement, result.measurements),
        verdict=job_pb2.GateVerdict(
            passed=result.verdict.passed,
            checks=[
                job_pb2.GateCheck(name=check.name, threshold=check.threshold, value=check.value, passed=check.passed)
                for check in result.verdict.checks
            ],
        ),
        cost=job_pb2.Cost(
            teacher_positions=cost.teacher_positions,
            training_tokens=cost.training_tokens,
            scoring_s=cost.scoring_s,
            training_s=cost.training_s,
            evaluating_s=cost.evaluating_s,
            training_flops=cost.training_flops,
            signal_bytes=cost.signal_bytes,
            teacher_tokens=cost.teacher_tokens,
            scoring_flops=cost.scoring_flops,
            wall_s=cost.wall_s,
            watts=cost.watts,
            energy_kwh=cost.energy_kwh,
            price_per_hour=cost.price_per_hour,
            price=cost.price,
            currency=cost.currency,
        ),
    )


def _measurement(measured: Measurement) -> job_pb2.Measurement:
    return job_pb2.Measurement(
        subject=measured.subject,
        parameters=measured.parameters,
        task_score=measured.task_score,
        task_score_low=measured.task_score_low,
        task_score_high=measured.task_score_high,
        metric=measured.metric,
        examples=measured.examples,
        forward_kl=measured.forward_kl,
        top1_agreement=measured.top1_agreement,
        cross_entropy=measured.cross_entropy,
        draft_acceptance=measured.draft_acceptance,
        own_text_kl=measured.own_text_kl,
        reverse_kl=measured.reverse_kl,
        own_text_forward_kl=measured.own_text_forward_kl,
        top8_overlap=measured.top8_overlap,
        noise_floor_kl=measured.noise_floor_kl,
        noise_floor_agreement=measured.noise_floor_agreement,
        training_tokens=measured.training_tokens,
        calibration_error=measured.calibration_error,
        reliability=[
            job_pb2.ReliabilityBin(confidence=each.confidence, accuracy=each.accuracy, positions=each.positions)
            for each in measured.reliability
        ],
    )
