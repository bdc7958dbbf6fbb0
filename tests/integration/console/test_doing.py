"""What the pages that do something do: new job, compare, playground."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from tests.scripted.inference import Script, words
from tests.scripted.mesh import ScriptedMesh

from seodang.api.capture.v1 import capture_pb2
from seodang.api.distill.v1 import job_pb2
from seodang.api.inference.v1 import chat_pb2
from seodang.base.errors import Exhausted
from seodang.corpora.babyai import Episode, Expert
from seodang.tasks import robot

Open = Callable[[str], AppTest]


def _texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def _in_playground(page: Open, preset: str) -> AppTest:
    app = page("playground")
    app.segmented_control(key="preset").set_value(preset).run()
    assert not app.exception
    return app


def test_the_form_starts_the_job_that_it_shows(mesh: ScriptedMesh, page: Open) -> None:
    app = page("new_job")
    app.text_input[0].set_value("kitchen")
    app.selectbox[1].select("babyai")
    app.button(key="start form").click().run()
    (request,) = mesh.distillation.created
    spec = request.spec
    assert (spec.student, spec.data.corpus, spec.teachers[0].model) == ("kitchen", "babyai", "models/teacher-mini")
    assert [baseline.recipe.kind for baseline in spec.baselines] == [job_pb2.Recipe.KIND_NO_TEACHER]
    assert (spec.gate.max_points_below_teacher, spec.gate.beat_baselines) == (5, True)
    assert "`jobs/new` has started" in _texts(app.success)


def test_a_job_learns_from_captured_traffic_that_is_not_withdrawn(mesh: ScriptedMesh, page: Open) -> None:
    name = "datasets/robot/versions/20261130-1"
    withdrawn = capture_pb2.DatasetVersion(name="datasets/robot/versions/20261129-1", withdrawn=True)
    mesh.capture.versions += [capture_pb2.DatasetVersion(name=name, prompts=1234), withdrawn]
    app = page("new_job")
    assert [option for option in app.selectbox[1].options if "captured" in option] == [
        "captured: robot/versions/20261130-1 · 1,234 prompts"
    ]
    app.selectbox[1].select(name)
    app.button(key="start form").click().run()
    (request,) = mesh.distillation.created
    assert (request.spec.data.WhichOneof("source"), request.spec.data.dataset_version) == ("dataset_version", name)


def test_checking_starts_nothing(mesh: ScriptedMesh, page: Open) -> None:
    app = page("new_job")
    app.button(key="check form").click().run()
    assert mesh.distillation.created[0].validate_only
    assert "can start" in _texts(app.success)


def test_a_second_click_after_a_success_is_a_new_job(mesh: ScriptedMesh, page: Open) -> None:
    app = page("new_job")
    app.button(key="start form").click().run()
    app.button(key="start form").click().run()
    first, second = (request.request_id for request in mesh.distillation.created)
    assert first != second


def test_corpora_that_are_not_at_hand_are_named_with_the_remedy(page: Open) -> None:
    app = page("new_job")
    assert "put the file into the data folder" in _texts(app.markdown)
    assert "clinc150" not in app.selectbox[1].options


def test_pasted_json_starts_a_job(mesh: ScriptedMesh, page: Open) -> None:
    app = page("new_job")
    app.text_area[0].set_value(json.dumps({"student": "x", "data": {"corpus": "home"}, "budget": {"steps": 7}})).run()
    app.button(key="start pasted").click().run()
    assert mesh.distillation.created[0].spec.budget.steps == 7


@pytest.mark.parametrize("text", ["{", '{"studnet": "x"}', '{"seed": "many"}'])
def test_pasted_nonsense_is_explained(page: Open, text: str) -> None:
    app = page("new_job")
    app.text_area[0].set_value(text).run()
    assert "not a job's specification" in _texts(app.warning)
    assert not app.exception


def test_a_refusal_of_the_server_is_shown_in_its_words(page: Open) -> None:
    app = page("new_job")
    app.text_area[0].set_value('{"student": "x"}').run()
    app.button(key="start pasted").click().run()
    assert "name a corpus, a file or a dataset" in _texts(app.warning)


def test_both_models_answer_the_same_question(mesh: ScriptedMesh, page: Open) -> None:
    mesh.teacher.answer = mesh.student.answer = lambda request: words("turn it on")
    app = page("compare")
    app.button[0].click().run()
    assert [code.value for code in app.code] == ["turn it on"] * 2
    asked = [inference.requests[0].prompt for inference in (mesh.teacher, mesh.student)]
    assert asked[0] == asked[1]
    assert [metric.value for metric in app.metric if metric.label == "Tokens"] == ["3", "3"]
    assert "Both wrote the same" in _texts(app.success)


def test_answers_that_differ_are_told_apart(mesh: ScriptedMesh, page: Open) -> None:
    mesh.student.answer = lambda request: words("off")
    app = page("compare")
    app.button[0].click().run()
    assert "different texts" in _texts(app.warning)


def test_one_model_that_fails_does_not_take_the_other_with_it(mesh: ScriptedMesh, page: Open) -> None:
    mesh.student.refusal = Exhausted("the queue is full")
    app = page("compare")
    app.button[0].click().run()
    assert "the queue is full" in _texts(app.error)
    assert app.code[0].value == "안녕 from the mesh"


def test_an_example_brings_its_system_message(page: Open) -> None:
    app = page("compare")
    app.pills(key="example").set_value("오늘 기분이 좀 안 좋아").run()
    assert app.text_area[0].value == "오늘 기분이 좀 안 좋아"
    assert app.text_input[0].value == "chat: ko"


def test_with_one_server_down_the_other_can_still_be_asked(mesh: ScriptedMesh, page: Open) -> None:
    mesh.stop("teacher")
    app = page("compare")
    assert "python -m seodang.teacher" in _texts(app.error)
    assert [box.value for box in app.selectbox[:2]] == [0, 0]


def test_a_chat_remembers_its_turns(mesh: ScriptedMesh, page: Open) -> None:
    app = page("playground")
    app.chat_input[0].set_value("안녕").run()
    app.chat_input[0].set_value("그래").run()
    turns = [(turn.role, turn.content) for turn in mesh.teacher.requests[-1].prompt.chat.messages]
    assert turns == [
        (chat_pb2.ROLE_SYSTEM, "chat: ko"),
        (chat_pb2.ROLE_USER, "안녕"),
        (chat_pb2.ROLE_ASSISTANT, "안녕 from the mesh"),
        (chat_pb2.ROLE_USER, "그래"),
    ]


def test_the_sampling_controls_reach_the_server(mesh: ScriptedMesh, page: Open) -> None:
    app = page("playground")
    app.slider(key="playground Chat temperature").set_value(0.7)
    app.number_input(key="playground Chat length").set_value(3)
    app.text_input(key="playground Chat stop").set_value("끝")
    app.chat_input[0].set_value("안녕").run()
    request = mesh.teacher.requests[-1]
    assert (request.sampling.temperature, request.max_new_tokens, list(request.stopping.strings)) == (0.7, 3, ["끝"])


def test_a_tool_call_is_shown_as_one(mesh: ScriptedMesh, page: Open) -> None:
    mesh.student.answer = lambda request: Script(['{"name":"HassTurnOn","arguments":{"area":"거실"}}'.encode()])
    app = _in_playground(page, "Assistant")
    app.button[0].click().run()
    assert app.metric[0].value == "HassTurnOn"
    assert list(app.dataframe[0].value["Value"]) == ["거실"]


def test_what_is_no_tool_call_is_said_to_be_none(page: Open) -> None:
    app = _in_playground(page, "Assistant")
    app.button[0].click().run()
    assert "no tool call" in _texts(app.warning)
    assert not app.exception


@pytest.mark.parametrize(
    ("answer", "where", "says"),
    [
        ('월요일 [1] "한빛 도서관은 월요일에 쉬고"', "success", "passage 1"),
        ('월요일 [2] "한빛 도서관은 월요일에 쉬고"', "error", "do not trust"),
        ("no answer", "info", "do not answer"),
        ("hm", "warning", "no answer"),
    ],
)
def test_a_quote_is_checked_against_its_passage(
    mesh: ScriptedMesh, page: Open, answer: str, where: str, says: str
) -> None:
    mesh.student.answer = lambda request: Script([answer.encode()])
    app = _in_playground(page, "Search")
    app.button[0].click().run()
    assert says in _texts(getattr(app, where))


def test_a_mission_is_driven_to_its_end_with_pictures(mesh: ScriptedMesh, page: Open) -> None:
    plan = _plan(seed=7)
    mesh.student.answer = lambda request: Script([plan[len(mesh.student.requests) - 1].encode()])
    app = _in_playground(page, "Robot")
    app.button[1].click().run()
    assert f"Done in {len(plan)} step" in _texts(app.success)
    assert "아무 보라 공으로 가" in mesh.student.requests[0].prompt.chat.messages[1].content
    assert len(app.image) == 1


def test_an_answer_that_is_no_action_moves_nothing(page: Open) -> None:
    app = _in_playground(page, "Robot")
    app.button[0].click().run()
    assert "the robot stands still" in _texts(app.warning)


def _plan(seed: int) -> list[str]:
    """What minigrid's expert does in that room."""
    episode = Episode("GoToLocal", seed, "ko")
    expert, actions = Expert(episode.env), list[robot.Action]()
    while not episode.over:
        actions.append(expert.replan(actions[-1] if actions else None))
        episode.step(actions[-1])
    return [robot.render(action) for action in actions]
