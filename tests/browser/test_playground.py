"""The Playground in a real browser, against scripted models: every flow, and whatever models do wrong."""

import json
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect
from tests.browser.conftest import Open, api, grant, make
from tests.system.processes import Served, until

Axe = Callable[[Page], None]
Shot = Callable[..., None]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PICTURE = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00\x00\xff\x00" * 2))
    + chunk(b"IEND", b"")
)
"""Two by two pixels."""


def at(visit: Open, endpoint: str, **more: object) -> Page:
    page = visit(f"/playground?endpoint={endpoint}", **more)
    expect(page.get_by_role("combobox", name="Endpoint").first).to_have_value(endpoint)
    return page


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Assistant")


def kept(page: Page) -> list[str]:
    """The titles of the conversations that the browser keeps."""
    found: list[str] = page.evaluate("""() => new Promise((resolve) => {
        const asked = indexedDB.open("tesela", 1);
        asked.onsuccess = () => {
            const all = asked.result.transaction("conversations").objectStore("conversations").getAll();
            all.onsuccess = () => {
                asked.result.close();
                resolve(all.result.map((one) => one.conversation.title));
            };
        };
    })""")
    return found


def test_a_first_question_streams_an_answer_with_its_figures(visit: Open, axe: Axe, shot: Shot) -> None:
    page = at(visit, "echo")
    expect(page.get_by_text("What would you like to try?")).to_be_visible()
    axe(page)
    shot(page, "playground-empty")
    say(page, "Hello **there**")
    answer = answers(page)
    expect(answer).to_contain_text("Hello there")
    expect(answer.locator("strong")).to_have_text("there")
    expect(answer).to_contain_text(re.compile(r"first token [\d.]+ s"))
    expect(answer).to_contain_text("tokens")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello **there**")
    axe(page)
    shot(page, "playground-answer")


def test_a_sample_is_asked_with_one_click(visit: Open) -> None:
    page = at(visit, "echo")
    page.get_by_role("button", name=re.compile("^Explain what a vector")).click()
    expect(answers(page)).to_contain_text("Explain what a vector embedding is")


def test_stopping_keeps_what_came(visit: Open) -> None:
    page = at(visit, "slow")
    say(page, "Go on")
    until(lambda: len(answers(page).inner_text()) > 80)
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_regenerate_edit_versions_and_delete(visit: Open) -> None:
    page = at(visit, "echo")
    say(page, "one")
    expect(answers(page)).to_contain_text("one")
    answers(page).get_by_role("button", name="Regenerate").click()
    expect(page.get_by_role("img", name="Version 2 of 2")).to_be_visible()
    answers(page).get_by_role("button", name="Earlier version").click()
    expect(page.get_by_role("img", name="Version 1 of 2")).to_be_visible()
    mine = page.get_by_role("article", name="You")
    mine.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit message").fill("two")
    page.keyboard.press("Control+Enter")
    expect(answers(page)).to_contain_text("two")
    mine.get_by_role("button", name="Earlier version").click()
    expect(answers(page)).to_contain_text("one")
    answers(page).get_by_role("button", name="Delete").click()
    expect(answers(page)).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("What would you like to try?")).to_be_visible()


def test_models_beside_each_other_with_one_prompt(visit: Open, axe: Axe, shot: Shot) -> None:
    page = at(visit, "echo")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("combobox", name="Endpoint")).to_have_count(2)
    page.get_by_role("combobox", name="Endpoint").nth(1).select_option("fast")
    say(page, "to both")
    expect(answers(page)).to_have_count(2)
    expect(page.get_by_role("region", name="echo").get_by_role("article", name="Assistant")).to_contain_text("to both")
    expect(page.get_by_role("region", name="fast").get_by_text(re.compile("tokens/s"))).to_be_visible()
    axe(page)
    shot(page, "playground-compare")
    page.get_by_label("Sync").uncheck()
    page.get_by_role("textbox", name="Message to echo").fill("to one")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(3)
    expect(page.get_by_role("region", name="echo").get_by_role("article", name="Assistant").last).to_contain_text(
        "to one"
    )
    page.get_by_role("button", name="Close fast").click()
    expect(page.get_by_role("combobox", name="Endpoint")).to_have_count(1)


def test_a_reasoning_effort_is_offered_where_it_is_taken(visit: Open, server: Served) -> None:
    model = {"name": "jamba-large", "provider": "ai21labs", "task": "llm/v1/chat"}
    entity = {"external_model": model | {"ai21labs_config": {"ai21labs_api_key_plaintext": "none"}}}
    api(server, "POST", "/api/2.0/serving-endpoints", {"name": "jamba", "config": {"served_entities": [entity]}})
    page = at(visit, "jamba")
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Seed")).to_be_visible()
    expect(dialog.get_by_label("Reasoning")).to_have_count(0)


def test_settings_are_sent_and_kept_and_wrong_ones_are_told(visit: Open, axe: Axe, shot: Shot) -> None:
    page = at(visit, "echo")
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("System prompt").fill("Be brief")
    dialog.get_by_label("Temperature").fill("3")
    expect(dialog).to_contain_text("from 0 to 2")
    dialog.get_by_label("Temperature").fill("0.5")
    dialog.get_by_label("Most tokens").fill("40")
    dialog.get_by_label("Seed").fill("7")
    dialog.get_by_label("Stop sequences").fill("END\nSTOP")
    dialog.get_by_label("Reasoning").select_option("low")
    axe(page)
    shot(page, "playground-settings")
    dialog.get_by_role("button", name="Close").last.click()
    with page.expect_request("**/invocations") as sent:
        say(page, "hi")
    body: Any = sent.value.post_data_json
    assert body["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hi"}]
    sent_ = {name: body[name] for name in ("temperature", "max_tokens", "seed", "stop", "reasoning_effort")}
    assert sent_ == {
        "temperature": 0.5,
        "max_tokens": 40,
        "seed": 7,
        "stop": ["END", "STOP"],
        "reasoning_effort": "low",
    }
    expect(answers(page)).to_contain_text("hi")
    until(lambda: "hi" in kept(page))
    page.reload()
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_role("dialog").get_by_label("Seed")).to_have_value("7")


def test_a_tool_is_defined_called_and_answered(visit: Open, shot: Shot) -> None:
    page = at(visit, "tools")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Example: get_weather").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    say(page, "How is the weather in Lima?")
    expect(page.get_by_text("The model calls get_weather")).to_be_visible()
    page.get_by_label("Result of get_weather").fill('{"celsius": 19}')
    shot(page, "playground-tool")
    page.get_by_role("button", name="Send results").click()
    expect(page.get_by_role("article", name="Result of get_weather")).to_contain_text("19")
    expect(answers(page)).to_have_count(2)
    expect(answers(page).last).to_contain_text(re.compile(r"\w{3,}"))


def test_structured_output_follows_the_schema(visit: Open) -> None:
    page = at(visit, "polite")
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Answer as").select_option("json_schema")
    editor = dialog.get_by_role("textbox", name="JSON schema")
    expect(editor).to_contain_text("answer")
    expect(dialog.get_by_text("This is not valid JSON")).to_have_count(0)
    editor.fill("")
    expect(dialog.get_by_text("This is not valid JSON")).to_be_visible()
    editor.fill('{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}')
    expect(dialog.get_by_text("This is not valid JSON")).to_have_count(0)
    dialog.get_by_role("button", name="Close").last.click()
    say(page, "Where?")
    expect(answers(page)).to_contain_text('"city"')


def test_images_go_with_a_message(visit: Open) -> None:
    page = at(visit, "echo")
    page.locator("input[type=file][accept='image/*']").set_input_files(
        FilePayload(name="a.png", mimeType="image/png", buffer=PICTURE)
    )
    expect(page.get_by_role("img", name="Image 1")).to_be_visible()
    with page.expect_request("**/invocations") as sent:
        say(page, "What is this?")
    body: Any = sent.value.post_data_json
    parts = body["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "What is this?"}
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")
    expect(page.get_by_role("article", name="You").get_by_role("img")).to_be_visible()
    page.locator("input[type=file][accept='image/*']").set_input_files(
        FilePayload(name="b.png", mimeType="image/png", buffer=b"no picture")
    )
    expect(page.get_by_role("alert")).to_contain_text("b.png is not an image")


def test_conversations_are_kept_removed_and_put_back(visit: Open) -> None:
    page = at(visit, "echo")
    aside = page.get_by_role("complementary", name="Conversations")
    say(page, "first topic")
    expect(aside).to_contain_text("first topic")
    page.get_by_role("button", name="New conversation").click()
    say(page, "second topic")
    until(lambda: "second topic" in kept(page))
    page.reload()
    expect(answers(page)).to_contain_text("second topic")
    aside.get_by_role("button", name=re.compile("^first topic")).click()
    expect(answers(page)).to_contain_text("first topic")
    aside.get_by_role("button", name="Delete “second topic”").click()
    expect(aside.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(aside.get_by_role("listitem")).to_have_count(2)


def test_an_answer_goes_on_while_another_page_is_looked_at(visit: Open) -> None:
    page = at(visit, "fast")
    say(page, "Go on")
    until(lambda: "Waiting" not in answers(page).inner_text())
    page.get_by_role("link", name="SQL").click()
    page.get_by_role("link", name="Playground").click()
    expect(answers(page)).to_contain_text("tokens/s")


@pytest.mark.parametrize("form", ["Python", "curl"])
def test_the_exported_code_runs(visit: Open, server: Served, tmp_path: Path, form: str) -> None:
    page = at(visit, "echo")
    say(page, 'it\'s "quoted" → ñ\\n $HOME `x`')
    expect(answers(page)).to_contain_text("quoted")
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name=form).click()
    with page.expect_download() as found:
        dialog.get_by_role("button", name="Download").click()
    file = tmp_path / found.value.suggested_filename
    found.value.save_as(file)
    clients = Path(__file__).resolve().parents[2] / ".venv-clients" / "bin" / "python"
    if form == "Python" and not clients.exists():
        pytest.skip("the official clients are not installed")
    command = ["bash", str(file)] if form == "curl" else [str(clients), str(file)]
    environ = {**server.environ, "DATABRICKS_HOST": server.host, "DATABRICKS_TOKEN": server.token}
    environ.pop("PYTHONWARNINGS")
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    assert "quoted" in done.stdout
    assert "→ ñ" in done.stdout or "\\u2192" in done.stdout


def test_a_conversation_comes_back_from_its_json(visit: Open, tmp_path: Path) -> None:
    page = at(visit, "echo")
    say(page, "keep me")
    expect(answers(page)).to_contain_text("keep me")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("tab", name="JSON").click()
    with page.expect_download() as found:
        page.get_by_role("button", name="Download").click()
    file = tmp_path / "c.json"
    found.value.save_as(file)
    assert json.loads(file.read_text())["conversation"]["panes"][0]["endpoint"] == "echo"
    other = at(visit, "echo")
    other.locator("input[type=file][accept='application/json,.json']").set_input_files(file)
    expect(answers(other)).to_contain_text("keep me")
    other.locator("input[type=file][accept='application/json,.json']").set_input_files(
        FilePayload(name="x.json", mimeType="application/json", buffer=b"{}")
    )
    expect(other.get_by_role("alert")).to_contain_text("no conversation")


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [("cut", "broke|closed|connection|ended"), ("busy", "429"), ("down", "503"), ("broken", "."), ("error-late", ".")],
)
def test_what_models_do_wrong_is_told_and_can_be_tried_again(visit: Open, endpoint: str, told: str) -> None:
    page = at(visit, endpoint)
    say(page, "my precious text")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(told))
    expect(page.get_by_role("article", name="You")).to_contain_text("my precious text")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("img", name="Version 2 of 2")).to_be_visible()


def test_a_lost_connection_keeps_what_came(visit: Open) -> None:
    page = at(visit, "slow")
    say(page, "Go on")
    until(lambda: len(answers(page).inner_text()) > 60)
    page.context.set_offline(True)
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_contain_text("Stopped")
    say(page, "are you there?")
    expect(page.get_by_role("alert")).to_contain_text("could not be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("img", name="Version 2 of 2")).to_be_visible()


def test_a_session_that_is_over_loses_no_text(visit: Open, server: Served) -> None:
    page = at(visit, "echo")
    page.context.clear_cookies()
    say(page, "typed before")
    expect(page.get_by_text("Your session is over. Sign in again: what you typed is still here.")).to_be_visible()
    page.get_by_role("textbox", name="Message").fill("half a thought")
    page.get_by_label("Access token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Access token")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message")).to_have_value("half a thought")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_contain_text("typed before")


def test_a_draft_survives_a_reload(visit: Open) -> None:
    page = at(visit, "echo")
    say(page, "anything")
    until(lambda: "anything" in kept(page))
    page.get_by_role("textbox", name="Message").fill("not sent yet")
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("not sent yet")


def test_what_is_typed_before_the_first_message_survives_a_reload(visit: Open) -> None:
    page = visit("/playground")
    page.get_by_role("textbox", name="Message").fill("not sent yet")
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("not sent yet")
    expect(page.get_by_role("combobox", name="Endpoint")).not_to_have_value("")
    say(page, "sent")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("")


def test_blocks_that_are_complete_are_not_made_anew_while_an_answer_grows(visit: Open) -> None:
    page = at(visit, "echo-slowly")
    page.evaluate("""() => {
        window.made = 0;
        new MutationObserver((changes) => {
            for (const node of changes.flatMap((one) => [...one.addedNodes])) {
                if (node.textContent.trim().startsWith("block 0")) window.made++;
            }
        }).observe(document.querySelector("main"), { childList: true, subtree: true });
    }""")
    page.get_by_role("textbox", name="Message").fill("\n\n".join(f"block {number}" for number in range(60)))
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("block 59")
    expect(answers(page)).to_contain_text("tokens")
    # The question, the first block while it grew, and the answer that is complete: not once for each of sixty blocks.
    assert page.evaluate("window.made") < 12


def test_somebody_else_who_signs_in_has_conversations_of_their_own(
    visit: Open, server: Served, somebody: Callable[[str], str]
) -> None:
    token = somebody("cleo@example.com")
    make(server, "shared")
    grant(server, "shared", "cleo@example.com")
    page = at(visit, "echo")
    say(page, "the admin's topic")
    expect(answers(page)).to_contain_text("the admin's topic")
    page.context.clear_cookies()
    say(page, "anything")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Account")).to_contain_text("cleo@example.com")
    expect(page.get_by_text("What would you like to try?")).to_be_visible()
    expect(page.get_by_text("the admin's topic")).to_have_count(0)
    say(page, "hers")
    expect(answers(page)).to_contain_text("hers")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(visit: Open, axe: Axe, shot: Shot, dark: bool) -> None:
    page = at(visit, "echo", width=360, height=700, dark=dark)
    say(
        page,
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('a long line of code that does not fit on a phone')\n```",
    )
    expect(answers(page).locator("table")).to_be_visible()
    expect(answers(page).get_by_role("button", name="Copy")).to_have_count(2)
    axe(page)
    shot(page, f"playground-phone-{'dark' if dark else 'light'}")
    page.get_by_role("button", name="Show conversations").click()
    expect(page.get_by_role("complementary", name="Conversations")).to_be_visible()
    axe(page)
    shot(page, f"playground-phone-menu-{'dark' if dark else 'light'}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Conversations")).to_be_hidden()


def test_by_keyboard_alone(visit: Open) -> None:
    page = at(visit, "echo")
    box = page.get_by_role("textbox", name="Message")
    expect(box).to_be_focused()
    page.keyboard.type("line one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("line two")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    names = []
    for _ in range(12):
        names.append(page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel"))
        page.keyboard.press("Shift+Tab")
    assert {"Regenerate", "Edit", "Copy", "Delete"} <= set(names), names


def test_what_has_come_of_an_answer_survives_a_reload(visit: Open) -> None:
    page = at(visit, "slow")
    say(page, "go on and on")
    expect(page.locator("main")).to_contain_text("w20")
    page.reload()
    expect(answers(page)).to_contain_text("w20")
    expect(answers(page)).to_contain_text("Stopped")


def test_two_windows_of_one_conversation_lose_nothing(visit: Open) -> None:
    one = at(visit, "echo")
    say(one, "said first")
    expect(answers(one)).to_contain_text("said first")
    until(lambda: "said first" in kept(one))
    two = one.context.new_page()
    two.goto("/playground")
    expect(answers(two)).to_contain_text("said first")
    say(two, "said there")
    expect(answers(one)).to_have_count(2)
    say(one, "said here")
    expect(answers(two)).to_have_count(3)
    two.reload()
    expect(answers(two)).to_have_count(3)
    expect(answers(two).last).to_contain_text("said here")
