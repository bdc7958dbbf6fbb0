"""docs/performance.md says what the committed results say, and nothing else."""

import dataclasses
from functools import partial
from pathlib import Path

import pytest
from benchmarks.page import PAGE, PICTURES, picture_name, read_results, render, write_page
from benchmarks.result import RESULTS, Chart, Result, Row, interleaved, medians
from benchmarks.run import benchmarks

RESULT = Result(
    name="speed",
    title="Speed: ours, theirs",
    summary="How fast.",
    command="python -m benchmarks.speed",
    rows=[
        {"engine": "ours", "batch": 1, "tokens_per_s": 1234.56},
        {"engine": "theirs", "batch": 1, "tokens_per_s": 0.98765},
        {"engine": "absent", "note": "no wheel | for this machine"},
    ],
    machine={"processor": "a", "cores": 2},
    versions={"python": "3"},
    charts=[Chart("Speed", value="tokens_per_s", label="batch", series="engine")],
)


def test_the_page_is_what_the_results_render_to() -> None:
    assert PAGE.read_text() == render(read_results()), "run 'python -m benchmarks.run --render' and commit the page"


def test_every_picture_of_the_page_is_there_and_no_other() -> None:
    drawn = {picture_name(result, chart) for result in read_results() for chart in result.charts}
    assert {path.name for path in PICTURES.glob("*")} == drawn


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*")), ids=lambda path: path.name)
def test_a_result_names_the_benchmark_that_made_it(path: Path) -> None:
    assert path.suffix == ".json"
    assert Result.read(path).name == path.stem
    assert path.stem in benchmarks()


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = RESULT.write(tmp_path / "speed.json")
    rows = [dict(row) for row in RESULT.rows]
    rows[0]["tokens_per_s"] = 1235.0  # four significant digits
    rows[1]["tokens_per_s"] = 0.9877
    assert Result.read(path) == dataclasses.replace(RESULT, rows=rows)


def test_a_table_has_every_column_and_a_dash_where_a_row_lacks_it() -> None:
    page = render([RESULT])
    assert "| engine | batch | tokens/s | note |\n| --- | ---: | ---: | --- |" in page
    assert "| ours | 1 | 1,235 | – |" in page
    assert "| absent | – | – | no wheel \\| for this machine |" in page


def test_another_number_is_another_page_and_another_picture() -> None:
    other = dataclasses.replace(RESULT, rows=[{**RESULT.rows[0], "tokens_per_s": 7.0}, *RESULT.rows[1:]])
    assert render([other]) != render([RESULT])
    assert picture_name(other, other.charts[0]) != picture_name(RESULT, RESULT.charts[0])


def test_rendering_again_removes_the_pictures_of_older_numbers(tmp_path: Path) -> None:
    pictures = tmp_path / "performance"
    write_page([RESULT], tmp_path / "performance.md", pictures)
    newer = dataclasses.replace(RESULT, rows=[{**RESULT.rows[0], "tokens_per_s": 7.0}, *RESULT.rows[1:]])
    write_page([newer], tmp_path / "performance.md", pictures)
    assert [path.name for path in pictures.iterdir()] == [picture_name(newer, newer.charts[0])]


def test_medians_are_taken_over_interleaved_rounds() -> None:
    order: list[str] = []
    numbers = {"a": iter([3, 1, 2]), "b": iter([10.0, 30.0, 20.0])}

    def measure(name: str) -> Row:
        order.append(name)
        return {"engine": name, "value": next(numbers[name])}

    found = interleaved({name: partial(measure, name) for name in numbers}, rounds=3)
    assert order == ["a", "b"] * 3
    assert found == {"a": {"engine": "a", "value": 2}, "b": {"engine": "b", "value": 20.0}}


def test_words_that_differ_between_rounds_have_no_median() -> None:
    with pytest.raises(ValueError, match="too many values"):
        medians([{"engine": "a"}, {"engine": "b"}])
