"""What people see: each page in a real browser, in front of real servers. The pictures are in ``out/console``."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect
from tests.e2e.console.conftest import SHOTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPEC = {
    "student": "sums",
    "teachers": [{"model": "models/tiny"}],
    "data": {"file": "sums.jsonl", "license": "CC0-1.0", "eval_examples": 4},
    "shape": {"dense": {"hidden_size": 32, "layers": 1, "heads": 2, "kv_heads": 1}},
    "budget": {"steps": 30, "tokens_per_step": 64, "checkpoint_steps": 10},
    "gate": {"max_parameter_share": 1.0, "promote_to": "production"},
}


@pytest.fixture(autouse=True)
def nothing_from_outside(page: Page, console_url: str) -> Iterator[None]:
    """No page may load a font or a script from another machine, or show a traceback."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((console_url, console_url.replace("http", "ws"), "data:", "blob:")):
            asked.append(request.url)

    page.on("request", note)
    yield
    page.remove_listener("request", note)
    assert asked == []
    assert page.get_by_test_id("stException").count() == 0


def _picture(page: Page, name: str) -> None:
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def test_the_mesh_page_shows_who_serves_and_who_is_down(page: Page) -> None:
    page.goto("/")
    servers = page.get_by_test_id("stMetric").filter(has_text="Servers serving")
    expect(servers).to_contain_text("3 of 7")
    expect(page.get_by_test_id("stAlert")).to_contain_text("python -m seodang.adapters.robotics")
    expect(page.locator("td", has_text="AXK1ForCausalLM").first).to_be_attached()
    _picture(page, "mesh")


def test_a_job_is_started_from_pasted_json_and_followed_to_its_end(page: Page) -> None:
    page.goto("/new-job")
    expect(page.get_by_role("button", name="Start").first).to_be_visible()
    _picture(page, "new-job")
    page.get_by_role("tab", name="JSON").click()
    page.get_by_role("textbox", name="Specification").fill(json.dumps(SPEC))
    page.get_by_role("textbox", name="Specification").press("Control+Enter")
    page.get_by_role("button", name="Start").last.click()
    expect(page.get_by_test_id("stAlert").filter(has_text="has started")).to_be_visible()
    page.goto("/jobs")
    expect(page.get_by_text("Measurements")).to_be_visible(timeout=300_000)
    expect(page.get_by_role("heading", name="sums")).to_contain_text("succeeded")
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(2)
    _picture(page, "jobs")


def test_the_registry_shows_what_the_job_published(page: Page) -> None:
    page.goto("/registry")
    expect(page.locator("td", has_text="sums/versions/1").first).to_be_attached()
    expect(page.locator("td", has_text="@production").first).to_be_attached()
    expect(page.get_by_test_id("stGraphVizChart")).to_contain_text("teacher")
    _picture(page, "registry")


def test_two_models_answer_side_by_side(page: Page) -> None:
    page.goto("/compare")
    page.get_by_role("button", name="Ask both").click()
    expect(page.get_by_text("ended by")).to_have_count(2)
    expect(page.get_by_test_id("stMetric").filter(has_text="Tokens/s")).to_have_count(2)
    _picture(page, "compare")


def test_a_model_answers_in_the_chat(page: Page) -> None:
    page.goto("/playground")
    page.get_by_placeholder("Say something").fill("안녕하세요")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stChatMessage")).to_have_count(2)
    expect(page.get_by_text("ended by")).to_be_visible()
    _picture(page, "playground-chat")


def test_the_robots_room_is_drawn(page: Page) -> None:
    page.goto("/playground")
    page.get_by_role("radio", name="Robot").click()
    expect(page.get_by_text("What the model reads")).to_be_visible()
    expect(page.get_by_test_id("stImage").locator("img")).to_be_visible()
    _picture(page, "playground-robot")
