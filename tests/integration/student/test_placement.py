"""PlacementService: loads, replaces, unloads and evicts, while others stream."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.student.conftest import Place
from tests.serving import Serving, wait_for
from tests.snippets import run_snippet

from seodang.api.inference.v1 import chat_pb2, generate_pb2, model_pb2
from seodang.api.serving.v1 import placement_pb2
from seodang.base.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from seodang.client import Client, complete
from seodang.rpc import from_fault


def generation(model: str, new: int = 3) -> generate_pb2.GenerateRequest:
    return generate_pb2.GenerateRequest(
        model=model,
        prompt=chat_pb2.Prompt(text="서당"),
        stopping=generate_pb2.Stopping(ignore_end_tokens=True),
        max_new_tokens=new,
    )


STREAM_TOKENS = 1500
"""Takes longer than a load."""


def begun(client: Client, model: str) -> Any:
    """A stream whose first tokens have come."""
    stream = client.inference.Generate(generation(model, STREAM_TOKENS), timeout=120)
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("delta")
    return stream


def assert_whole(stream: Any) -> generate_pb2.Finished:
    """The stream ends well, with every token."""
    finished: generate_pb2.Finished = list(stream)[-1].finished
    assert finished.usage.completion_tokens == STREAM_TOKENS
    return finished


def test_a_load_tells_its_progress_and_ends_ready(place: Place) -> None:
    events = place.load("models/one", folder="llama", pin=True)
    stages = list(dict.fromkeys(event.progress.stage for event in events[:-1]))
    assert stages[0] == "queued"
    assert stages[-1] == "completing a first token"
    resident = events[-1].ready
    assert resident.source == str(place.root / "llama")
    assert resident.pinned
    assert 4 * 2**20 < resident.memory_bytes < 6 * 2**20
    assert resident.model.architecture == "LlamaForCausalLM"
    assert complete(place.client, generation("models/one")).model == "models/one"


def test_loading_what_is_resident_is_a_success(place: Place) -> None:
    first = place.ready("models/one")
    again = place.ready("models/one", pin=True)
    assert again.load_time == first.load_time
    assert again.pinned


def test_callers_who_load_the_same_share_one_load(place: Place) -> None:
    loaded: list[placement_pb2.ResidentModel] = []
    callers = [threading.Thread(target=lambda: loaded.append(place.ready("models/one"))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(loaded) == 4
    assert {resident.load_time.ToNanoseconds() for resident in loaded} == {loaded[0].load_time.ToNanoseconds()}


def test_another_model_needs_replace_to_take_a_name(place: Place) -> None:
    place.ready("models/one")
    with pytest.raises(AlreadyExists):
        place.load("models/one", folder="qwen3")
    with pytest.raises(AlreadyExists):
        place.load("models/one", dtype="bfloat16")
    replaced = place.ready("models/one", dtype="bfloat16", replace=True)
    assert replaced.model.dtype == "bfloat16"


def test_a_narrower_dtype_takes_less_memory(place: Place) -> None:
    taken = {dtype: place.ready("models/one", dtype=dtype, replace=True) for dtype in ("bfloat16", "int8", "int4")}
    assert [resident.model.dtype for resident in taken.values()] == list(taken)
    assert taken["int4"].memory_bytes < taken["int8"].memory_bytes < taken["bfloat16"].memory_bytes


def test_a_replaced_model_finishes_its_streams(place: Place) -> None:
    place.ready("models/one")
    stream = begun(place.client, "models/one")
    began_s = time.monotonic()
    replaced = place.ready("models/one", folder="qwen3", replace=True)
    replaced_after_ms = 1e3 * (time.monotonic() - began_s)
    assert replaced.model.architecture == "Qwen3ForCausalLM"
    assert complete(place.client, generation("models/one")).usage.completion_tokens == 3
    assert assert_whole(stream).usage.total_ms > replaced_after_ms
    assert place.residents().keys() == {"models/one"}


def test_unloading_waits_for_streams_and_takes_no_new_ones(place: Place) -> None:
    place.ready("models/one")
    stream = begun(place.client, "models/one")
    freed: list[int] = []
    unloading = threading.Thread(target=lambda: freed.append(place.unload("models/one")))
    unloading.start()
    wait_for(lambda: place.state("models/one") == model_pb2.MODEL_STATE_UNLOADING, "the model to be leaving")
    with pytest.raises(NotFound):
        complete(place.client, generation("models/one"))
    assert not freed
    assert_whole(stream)
    unloading.join(60)
    assert freed[0] > 4 * 2**20


def test_unloading_by_force_ends_streams(place: Place) -> None:
    place.ready("models/one")
    place.ready("models/two", folder="qwen3")
    stream, other = begun(place.client, "models/one"), begun(place.client, "models/two")
    place.unload("models/one", force=True)
    error = from_fault(list(stream)[-1].fault)
    assert isinstance(error, Unavailable)
    assert_whole(other)


def test_the_readme_replaces_a_student_and_asks_it(place: Place) -> None:
    place.ready("models/llama")
    page = "services/seodang/student/README.md"
    printed = run_snippet(
        page, {"127.0.0.1:7102": place.serving.address, '"assistant"': '"llama"', "models/assistant": "models/llama"}
    )
    assert "queued" in printed
    assert "bfloat16" in printed


def test_a_pinned_model_stays(place: Place) -> None:
    place.ready("models/one", pin=True)
    with pytest.raises(Conflict, match="pin"):
        place.unload("models/one")
    assert not place.pin("models/one", False).pinned
    assert place.unload("models/one") > 0


def test_the_idle_model_used_longest_ago_makes_room(place: Place) -> None:
    for name in ("models/one", "models/two", "models/three"):
        place.ready(name)
    complete(place.client, generation("models/one"))
    place.pin("models/two", True)
    place.ready("models/four")
    assert place.residents().keys() == {"models/one", "models/two", "models/four"}
    assert place.state("models/three") == model_pb2.MODEL_STATE_ON_DEMAND


def test_an_evicted_model_comes_back_with_its_next_request(place: Place) -> None:
    for name in ("models/one", "models/two", "models/three", "models/four"):
        place.ready(name)
    assert "models/one" not in place.residents()
    answer = complete(place.client, generation("models/one"), timeout_s=120)
    assert answer.usage.completion_tokens == 3
    assert "models/two" not in place.residents()


def test_a_load_that_finds_no_room_is_refused_with_a_time_to_try_again(place: Place) -> None:
    for name in ("models/one", "models/two", "models/three"):
        place.ready(name, pin=True)
    events = place.load("models/four")
    error = from_fault(events[-1].fault)
    assert isinstance(error, Exhausted)
    assert error.reason == "MEMORY_BUDGET"
    assert place.residents().keys() == {"models/one", "models/two", "models/three"}


def test_a_model_in_use_is_not_evicted(place: Place) -> None:
    for name in ("models/one", "models/two", "models/three"):
        place.ready(name)
    stream = begun(place.client, "models/one")
    place.ready("models/four")
    assert "models/one" in place.residents()
    assert_whole(stream)


def test_a_broken_checkpoint_is_refused_by_name_and_others_serve_on(place: Place) -> None:
    place.ready("models/one")
    error = from_fault(place.load("models/bad", folder="broken")[-1].fault)
    assert isinstance(error, InvalidInput)
    assert error.reason == "BAD_CHECKPOINT"
    assert "truncated" in error.message
    with pytest.raises(Conflict, match="truncated"):
        complete(place.client, generation("models/bad"))
    assert complete(place.client, generation("models/one")).usage.completion_tokens == 3


def test_what_the_roots_hold_is_known_from_the_start(student_of_its_own: tuple[Serving, Path, Path]) -> None:
    log = student_of_its_own[0].log()
    assert "models/broken could not be loaded" in log
    assert "link is passed over" in log
    for name in ("models/llama", "models/qwen3", "models/tiny"):
        assert f"{name} serves from" in log


FOLDERS = ["../outside/llama", "/etc", "llama/../../outside/llama", "link"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_outside_the_roots_is_read(place: Place, folder: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        place.load("models/one", folder=folder)
    assert caught.value.reason == "OUTSIDE_MODEL_ROOTS"


def test_no_file_outside_the_roots_is_read(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    sly = place.root / "sly"
    sly.mkdir(exist_ok=True)
    (sly / "config.json").symlink_to(secret)
    with pytest.raises(PermissionDenied):
        place.load("models/one", folder="sly")
    (sly / "config.json").unlink()


REFUSED: dict[str, tuple[placement_pb2.LoadModelRequest, type[Exception]]] = {
    "no name": (placement_pb2.LoadModelRequest(folder="llama"), InvalidInput),
    "an alias": (placement_pb2.LoadModelRequest(name="models/one@best", folder="llama"), InvalidInput),
    "no source": (placement_pb2.LoadModelRequest(name="models/one"), InvalidInput),
    "no folder": (placement_pb2.LoadModelRequest(name="models/one", folder=""), InvalidInput),
    "no such folder": (placement_pb2.LoadModelRequest(name="models/one", folder="nobody"), NotFound),
    "no version": (placement_pb2.LoadModelRequest(name="models/one", version="models/one"), InvalidInput),
    "dtype": (placement_pb2.LoadModelRequest(name="models/one", folder="llama", dtype="int2"), InvalidInput),
    "layout": (
        placement_pb2.LoadModelRequest(
            name="models/one", folder="llama", layout=model_pb2.Layout(tensor_parallel=2)
        ),
        Unsupported,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_a_load_that_can_never_work_is_refused(
    place: Place, request_: placement_pb2.LoadModelRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(place.client.placement.LoadModel(request_, timeout=30))


def test_what_is_not_resident_cannot_be_unloaded_or_pinned(place: Place) -> None:
    with pytest.raises(NotFound):
        place.unload("models/nobody")
    with pytest.raises(NotFound):
        place.pin("models/nobody", True)


def test_residents_are_listed_page_by_page(place: Place) -> None:
    for name in ("models/two", "models/one"):
        place.ready(name)
    first = place.client.placement.ListResidentModels(placement_pb2.ListResidentModelsRequest(page_size=1))
    second = place.client.placement.ListResidentModels(
        placement_pb2.ListResidentModelsRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [first.models[0].model.name, second.models[0].model.name] == ["models/one", "models/two"]
    assert not second.next_page_token
