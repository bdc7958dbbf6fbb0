import json
from pathlib import Path

import pytest

from seodang.adapters.voice.recogniser.home import Home, read_homes
from seodang.base.errors import InvalidInput


def test_a_home_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    path.write_text(json.dumps({"ko": {"areas": ["사랑방"], "devices": {"light": ["호롱불"]}}}))
    assert read_homes(path) == {"ko": Home(areas=("사랑방",), devices={"light": ("호롱불",)})}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", "map languages"),
        ('{"ko": {"rooms": []}}', "nothing else"),
        ('{"ko": {"areas": "거실"}}', "ko.areas must be a list"),
        ('{"ko": {"areas": [""]}}', "ko.areas"),
        ('{"ko": {"devices": []}}', "'devices'"),
        ('{"ko": {"devices": {"light": [1]}}}', "ko.devices.light"),
    ],
)
def test_another_file_is_refused_with_its_path_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "home.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said) as refused:
        read_homes(path)
    assert str(path) in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.json"):
        read_homes(tmp_path / "nowhere.json")
