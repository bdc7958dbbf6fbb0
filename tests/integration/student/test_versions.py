"""Versions and aliases of the registry: found, fetched, checked, and followed when they move."""

from pathlib import Path

import pytest
from tests.integration.student.conftest import Place
from tests.integration.student.stand_in_registry import StandInRegistry
from tests.integration.student.test_placement import assert_whole, begun, generation
from tests.serving import wait_for

from seodang.api.inference.v1 import inference_pb2
from seodang.base.errors import Conflict, NotFound, Unavailable
from seodang.client import complete
from seodang.rpc import from_fault

FIRST, SECOND, THIRD = (f"models/home/versions/{number}" for number in (1, 2, 3))
ALIAS = "models/home@production"


@pytest.fixture(autouse=True)
def published(registry: StandInRegistry, checkpoints: Path) -> None:
    """Two versions; the alias stands for the first."""
    registry.add(FIRST, checkpoints / "llama", shared=True)
    registry.add(SECOND, checkpoints / "qwen3", shared=True)
    registry.aliases[ALIAS] = FIRST


def test_a_version_is_served_from_the_registry_s_folder_if_it_can_be_read(
    place: Place, registry: StandInRegistry, checkpoints: Path
) -> None:
    before = registry.downloads
    resident = place.ready("models/home", version=FIRST)
    assert resident.source == FIRST
    assert resident.model.architecture == "LlamaForCausalLM"
    assert registry.downloads == before


def test_a_version_is_downloaded_once_and_kept(place: Place, registry: StandInRegistry, checkpoints: Path) -> None:
    registry.add(FIRST, checkpoints / "llama", shared=False)
    before = registry.downloads
    stages = {event.progress.stage for event in place.load("models/home", version=FIRST)}
    assert "downloading" in stages
    place.unload("models/home")
    place.ready("models/home", version=FIRST)
    assert registry.downloads == before + 1
    (kept,) = (place.state_dir / "versions").iterdir()
    assert kept.name == registry.versions[FIRST].sha256


def test_a_download_that_breaks_off_goes_on_where_it_was(
    place: Place, registry: StandInRegistry, checkpoints: Path
) -> None:
    registry.add(THIRD, checkpoints / "tiny", shared=False)
    registry.breaks_after = registry.versions[THIRD].total_bytes // 2
    before, sent = registry.downloads, registry.sent
    assert place.ready("models/home", version=THIRD).model.architecture == "AXK1ForCausalLM"
    assert registry.downloads == before + 2
    assert registry.sent == sent + registry.versions[THIRD].total_bytes


def test_a_download_that_is_not_what_was_listed_is_refused(
    place: Place, registry: StandInRegistry, checkpoints: Path
) -> None:
    registry.add(SECOND, checkpoints / "qwen3", shared=False)
    registry.damage = b"other bytes"
    error = from_fault(place.load("models/home", version=SECOND)[-1].fault)
    assert isinstance(error, Conflict)
    assert error.reason == "CORRUPT_VERSION"
    assert not (place.state_dir / "versions" / registry.versions[SECOND].sha256).exists()
    registry.damage = b""
    assert place.ready("models/home", version=SECOND).model.architecture == "Qwen3ForCausalLM"


def test_a_shared_folder_that_was_tampered_with_is_refused(
    place: Place, registry: StandInRegistry, checkpoints: Path
) -> None:
    registry.versions[FIRST].folder = str(checkpoints / "qwen3")
    error = from_fault(place.load("models/home", version=FIRST)[-1].fault)
    assert isinstance(error, Conflict)
    assert error.reason == "CORRUPT_VERSION"


@pytest.mark.parametrize("path", ["../../escaped", "/etc/escaped"])
def test_a_file_cannot_leave_its_version(place: Place, registry: StandInRegistry, path: str) -> None:
    version = registry.versions[FIRST]
    version.files[0].path = path
    error = from_fault(place.load("models/home", version=FIRST)[-1].fault)
    assert isinstance(error, Conflict)


def test_an_alias_is_loaded_by_its_first_request_and_names_its_version(place: Place) -> None:
    answer = complete(place.client, generation(ALIAS), timeout_s=120)
    assert answer.model == FIRST
    assert place.residents().keys() == {FIRST}
    model = place.client.inference.GetModel(inference_pb2.GetModelRequest(name=ALIAS)).model
    assert model.name == FIRST


def test_a_version_is_loaded_by_its_first_request(place: Place) -> None:
    assert complete(place.client, generation(SECOND), timeout_s=120).model == SECOND


def test_an_alias_that_moves_takes_new_requests_with_it(place: Place, registry: StandInRegistry) -> None:
    complete(place.client, generation(ALIAS), timeout_s=120)
    stream = begun(place.client, ALIAS)
    registry.aliases[ALIAS] = SECOND
    wait_for(lambda: complete(place.client, generation(ALIAS), timeout_s=120).model == SECOND, "the alias to move")
    assert_whole(stream)


def test_a_resolved_alias_is_not_asked_for_again_at_once(place: Place, registry: StandInRegistry) -> None:
    complete(place.client, generation(ALIAS), timeout_s=120)
    before = registry.resolved
    for _ in range(5):
        place.client.inference.CountTokens(
            inference_pb2.CountTokensRequest(model=ALIAS, prompt=generation(ALIAS).prompt)
        )
    assert registry.resolved - before < 5


def test_an_alias_serves_on_while_the_registry_is_away(place: Place, registry: StandInRegistry) -> None:
    complete(place.client, generation(ALIAS), timeout_s=120)
    registry.away = True
    before = registry.resolved
    wait_for(lambda: complete(place.client, generation(ALIAS)) and registry.resolved > before, "the alias to be stale")
    assert complete(place.client, generation(ALIAS)).model == FIRST


def test_an_unknown_alias_cannot_be_asked_for_while_the_registry_is_away(
    place: Place, registry: StandInRegistry
) -> None:
    registry.away = True
    with pytest.raises(Unavailable, match="registry"):
        complete(place.client, generation("models/new@production"))


@pytest.mark.parametrize("name", ["models/nobody@production", "models/nobody/versions/9"])
def test_what_the_registry_does_not_know_is_not_found(place: Place, name: str) -> None:
    with pytest.raises(NotFound):
        complete(place.client, generation(name))
