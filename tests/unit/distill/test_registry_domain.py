import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seodang.base.errors import Conflict, InvalidInput, Superseded
from seodang.distill.registry.domain import (
    Alias,
    AliasName,
    Cause,
    Move,
    StoredFile,
    Version,
    VersionName,
    check_etag,
    checked_word,
    files_sha256,
    parse_model,
    promotion,
    rollback,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAME = AliasName("robot", "production")


def version(number: int, passed: bool = True) -> Version:
    return Version(
        name=VersionName("robot", number), job_id=f"j{number}", create_time=NOW, parameters=1, files=(), sha256="",
        passed_gate=passed, scores={}, aliases=(),
    )  # fmt: skip


def moved(move_id: int, move: Move, previous: Move | None = None) -> Alias:
    return Alias(move_id=move_id, move=move, previous=previous)


def test_the_digest_of_the_files_is_that_of_sha256sum(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    listed = subprocess.run(
        ["sha256sum", "a.txt", "b.txt", "c/d.txt"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    files = [
        StoredFile(name, len(name), hashlib.sha256(name.encode()).hexdigest()) for name in ("b.txt", "c/d.txt", "a.txt")
    ]
    assert files_sha256(files) == hashlib.sha256(listed).hexdigest()


def test_a_version_that_failed_its_gate_is_not_promoted() -> None:
    with pytest.raises(Conflict, match="did not pass its gate") as caught:
        promotion(None, NAME, version(2, passed=False), Cause.PROMOTION, NOW)
    assert caught.value.reason == "GATE_NOT_PASSED"


def test_rollbacks_walk_back_through_the_promotions_and_stop_at_the_first() -> None:
    first = promotion(None, NAME, version(1), Cause.PROMOTION, NOW)
    second = promotion(moved(1, first), NAME, version(2), Cause.PROMOTION, NOW)
    third = promotion(moved(2, second, first), NAME, version(3), Cause.GATE, NOW)
    back = rollback(moved(3, third, second), NOW)
    assert (back.version.number, back.previous_id, back.cause) == (2, 1, Cause.ROLLBACK)
    again = rollback(moved(4, back, first), NOW)
    assert (again.version.number, again.previous_id) == (1, None)
    with pytest.raises(Conflict, match="nothing to go back to"):
        rollback(moved(5, again), NOW)


def test_an_etag_of_an_older_state_is_refused() -> None:
    alias = moved(7, promotion(None, NAME, version(1), Cause.PROMOTION, NOW))
    check_etag(alias, NAME, alias.etag)
    check_etag(alias, NAME, "")
    check_etag(None, NAME, "")
    with pytest.raises(Superseded, match="stands for models/robot/versions/1"):
        check_etag(alias, NAME, "6")
    with pytest.raises(Superseded, match="does not exist"):
        check_etag(None, NAME, "6")


def test_names_are_read_back_as_they_are_written() -> None:
    assert VersionName.parse(str(VersionName("a-B", 12)), "x") == VersionName("a-B", 12)
    assert AliasName.parse(str(NAME), "x") == NAME
    assert parse_model("models/robot", "x") == "robot"


@pytest.mark.parametrize("text", ["", "models/a", "models/a/versions/0", "models/a/versions/x", "models/../versions/1"])
def test_a_name_of_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        VersionName.parse(text, "version")
    assert caught.value.field == "version"


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", "한", "a" * 64])
def test_a_word_that_cannot_name_anything_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        checked_word(text, "alias")
