"""Whether a student may be promoted: its measurements against the thresholds of its job."""

from seodang.distillation.result import GateCheck, Measurement, Verdict
from seodang.distillation.spec import STUDENT, TEACHER, Gate


def judge(gate: Gate, measurements: tuple[Measurement, ...]) -> Verdict:
    """Every threshold that is set, each with what was measured; one that is missed fails the student."""
    by_subject = {each.subject: each for each in measurements}
    student, teacher = by_subject[STUDENT], by_subject[TEACHER]
    baselines = [each for each in measurements if each.subject not in (STUDENT, TEACHER)]
    checks: list[GateCheck] = []
    if gate.max_points_below_teacher is not None:
        below = 100 * (teacher.task_score - student.task_score)
        checks.append(_at_most("points below teacher", gate.max_points_below_teacher, below))
    if gate.beat_baselines:
        checks += [
            GateCheck(
                name=f"task score above {baseline.subject}",
                threshold=baseline.task_score,
                value=student.task_score,
                passed=student.task_score > baseline.task_score,
            )
            for baseline in baselines
        ]
    if gate.min_task_score is not None:
        passed = student.task_score >= gate.min_task_score
        checks.append(
            GateCheck(name="task score", threshold=gate.min_task_score, value=student.task_score, passed=passed)
        )
    if gate.max_parameter_share is not None:
        share = student.parameters / teacher.parameters
        checks.append(_at_most("parameters to teacher's", gate.max_parameter_share, share))
    if gate.max_forward_kl is not None:
        assert student.forward_kl is not None, "students are measured against the teacher"
        checks.append(_at_most("forward KL", gate.max_forward_kl, student.forward_kl))
    return Verdict(passed=all(check.passed for check in checks), checks=tuple(checks), promote_to=gate.promote_to)


def _at_most(name: str, threshold: float, value: float) -> GateCheck:
    return GateCheck(name=name, threshold=threshold, value=value, passed=value <= threshold)
