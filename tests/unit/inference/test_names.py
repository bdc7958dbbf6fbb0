"""Names of models."""

import pytest

from seodang.base.errors import InvalidInput
from seodang.inference import ModelName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("models/teacher-mini", ModelName("teacher-mini")),
        ("models/home@production", ModelName("home", alias="production")),
        ("models/home/versions/12", ModelName("home", version="12")),
    ],
)
def test_a_name_is_read_and_written(text: str, name: ModelName) -> None:
    assert ModelName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "home", "models/", "models/../x", "models/a/b", "models/a@", "models/a@b@c", "models/a/versions/",
        "models/.a", "models/a\n", "models/" + "a" * 64, "models/a@b/versions/1", "models/서당",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ModelName.parse(text, field="name")
    assert caught.value.field == "name"
