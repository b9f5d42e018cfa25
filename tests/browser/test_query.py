"""The query panel: what is sent, what comes back, and what is said when something is wrong."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, Page, expect
from tests.browser.conftest import Open, grant, make
from tests.browser.test_playground import PICTURE
from tests.system.processes import Served, until

Axe = Callable[[Page], None]
Shot = Callable[..., None]


def at(visit: Open, endpoint: str, **more: object) -> Page:
    page = visit(f"/serving/{endpoint}?tab=query", **more)
    expect(page.get_by_role("textbox", name="Request as JSON")).to_be_visible()
    return page


def write(page: Page, text: str) -> None:
    editor = page.get_by_role("textbox", name="Request as JSON")
    # A text put in the place of a coloured one gets its style from the browser, which the policy refuses and reports.
    editor.press("ControlOrMeta+a")
    editor.press("Delete")
    editor.fill(text)


def test_the_example_is_sent_and_answered(visit: Open, axe: Axe, shot: Shot) -> None:
    page = at(visit, "echo")
    write(page, "{}")
    page.get_by_role("button", name="Show example").click()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_text(re.compile(r"Status 200 · .* ms · \d+ \+ \d+ tokens · m"))).to_be_visible()
    expect(page.locator(".text")).to_have_text("What is a mosaic made of?")
    page.get_by_text("As it came").click()
    expect(page.locator("pre")).to_contain_text('"object": "chat.completion"')
    axe(page)
    shot(page, "query-answer")


def test_streaming_is_seen_while_it_comes_and_can_be_stopped(visit: Open) -> None:
    page = at(visit, "slow")
    page.get_by_label("Stream").check()
    with page.expect_request("**/invocations") as sent:
        page.get_by_role("button", name="Send request").click()
    assert '"stream": true' in (sent.value.post_data or "")
    until(lambda: len(page.locator(".text").all_inner_texts()[:1] and page.locator(".text").inner_text()) > 40)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. What came is shown.")).to_be_visible()
    expect(page.locator(".text")).to_contain_text("w1 w2")


def test_what_is_wrong_is_said_before_and_after_sending(visit: Open, shot: Shot) -> None:
    page = at(visit, "echo")
    write(page, '{"messages": [')
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid JSON")
    write(page, '{"messages": [{"role": "user", "content": "Hi"}], "temperature": 9}')
    expect(page.locator(".cm-lintRange").first).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    shot(page, "query-lint")
    write(page, '{"messages": []}')
    page.get_by_role("textbox", name="Request as JSON").press("Control+Enter")
    expect(page.get_by_role("alert").last).to_contain_text("400")
    expect(page.get_by_role("alert").last).to_contain_text("messages")


@pytest.mark.parametrize(
    ("endpoint", "told"), [("down", "503"), ("busy", "429"), ("broken", "502"), ("cut", "The connection broke|502")]
)
def test_models_that_fail_are_told_about(visit: Open, endpoint: str, told: str) -> None:
    page = at(visit, endpoint)
    body = '{"messages": [{"role": "user", "content": "typed"}]}'
    write(page, body)
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("alert").last).to_contain_text(re.compile(told))
    expect(page.get_by_role("textbox", name="Request as JSON")).to_have_text(body)


def test_what_came_before_the_connection_broke_stays(visit: Open) -> None:
    page = at(visit, "cut")
    page.get_by_label("Stream").check()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("alert").last).to_be_visible()
    expect(page.locator(".text")).not_to_be_empty()


@pytest.mark.parametrize(
    "body", ['{"messages": [null]}', '{"messages": [{"role": 5, "content": [null]}]}', "[]", "5", ""]
)
def test_odd_requests_break_no_tab(visit: Open, body: str) -> None:
    page = at(visit, "echo")
    write(page, body)
    page.get_by_role("tab", name="Python").click()
    for client in ("OpenAI", "Databricks SDK", "MLflow", "LangChain"):
        page.get_by_role("radio", name=client).check()
    page.get_by_role("tab", name="SQL").last.click()
    page.get_by_role("tab", name="Browser").click()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("alert").last).to_be_visible()


def test_what_was_typed_comes_back_after_the_example(visit: Open) -> None:
    page = at(visit, "echo")
    write(page, "")
    editor = page.get_by_role("textbox", name="Request as JSON")
    editor.press_sequentially("[5")
    page.get_by_role("button", name="Show example").click()
    expect(editor).to_contain_text("mosaic")
    editor.press("Control+z")
    expect(editor).to_have_text("[5]")


def test_fields_that_a_client_cannot_send_are_named(visit: Open) -> None:
    page = at(visit, "echo")
    write(page, '{"messages": [{"role": "user", "content": "x"}], "tools": [], "logprobs": true, "seed": 1}')
    page.get_by_role("tab", name="SQL").last.click()
    expect(page.get_by_text("left out: tools, logprobs.")).to_be_visible()


def test_a_long_stream_stays_smooth(visit: Open) -> None:
    page = at(visit, "huge")
    write(page, '{"messages": [{"role": "user", "content": "x"}]}')
    page.evaluate(
        """() => { window.longest = 0; new PerformanceObserver((list) => {
          for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
        }).observe({ type: "longtask" }); }"""
    )
    page.get_by_label("Stream").check()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_text(re.compile("Status 200"))).to_be_visible(timeout=60_000)
    expect(page.locator(".text")).to_contain_text("w19999")
    assert page.evaluate("window.longest") < 1000


def test_embeddings_have_a_length_a_norm_and_a_picture(visit: Open, shot: Shot) -> None:
    page = at(visit, "vectors")
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_text(re.compile(r"\d+ numbers · norm [\d.]+")).first).to_be_visible()
    expect(page.get_by_role("img", name="Picture of embedding 3")).to_be_visible()
    expect(page.get_by_text(re.compile("cosine to the first")).first).to_be_visible()
    shot(page, "query-embeddings")


def test_completions(visit: Open) -> None:
    page = at(visit, "words")
    page.get_by_label("Stream").check()
    page.get_by_role("button", name="Send request").click()
    expect(page.locator(".text")).to_have_text("A mosaic is made of")


def test_an_image_goes_into_the_request(visit: Open) -> None:
    page = at(visit, "echo")
    page.locator("input[type=file]").set_input_files(FilePayload(name="a.png", mimeType="image/png", buffer=PICTURE))
    expect(page.get_by_text("was added")).to_be_visible()
    expect(page.get_by_role("textbox", name="Request as JSON")).to_contain_text("data:image/png;base64,")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(visit: Open, kind: str) -> None:
    page = at(visit, "echo")
    editor = page.get_by_role("textbox", name="Request as JSON")
    expect(editor).to_contain_text("mosaic")
    editor.evaluate(
        """(editor, [kind, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
          const more = { bubbles: true, composed: true, cancelable: true };
          editor.dispatchEvent(kind === "drop"
            ? new DragEvent("drop", { ...more, dataTransfer: data })
            : new ClipboardEvent("paste", { ...more, clipboardData: data }));
        }""",
        [kind, list(PICTURE)],
    )
    expect(page.get_by_text("was added")).to_be_visible()
    expect(editor).to_contain_text("data:image/png;base64,")
    expect(editor).to_contain_text("mosaic")


def test_a_draft_is_kept_for_each_endpoint(visit: Open) -> None:
    page = at(visit, "echo")
    write(page, '{"messages": [{"role": "user", "content": "kept"}]}')
    page.goto("/serving/words?tab=query")
    expect(page.get_by_role("textbox", name="Request as JSON")).to_contain_text("prompt")
    page.goto("/serving/echo?tab=query")
    expect(page.get_by_role("textbox", name="Request as JSON")).to_contain_text("kept")


def test_a_draft_is_its_authors_own(visit: Open, server: Served, somebody: Callable[[str], str]) -> None:
    token = somebody("dora@example.com")
    make(server, "both")
    grant(server, "both", "dora@example.com")
    page = at(visit, "both")
    write(page, '{"messages": [{"role": "user", "content": "private"}]}')
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("textbox", name="Request as JSON")).to_contain_text("mosaic")
    expect(page.get_by_role("textbox", name="Request as JSON")).not_to_contain_text("private")


def test_completion_knows_the_fields(visit: Open) -> None:
    page = at(visit, "echo")
    # The schema is there when it objects to something.
    write(page, '{"temperature": 9}')
    expect(page.locator(".cm-lintRange").first).to_be_visible()
    write(page, "{}")
    page.get_by_role("textbox", name="Request as JSON").press("ArrowLeft")
    page.keyboard.type('"temp')
    expect(page.get_by_role("option", name=re.compile("temperature"))).to_be_visible()
    page.keyboard.press("Escape")
    write(page, '{"messages": [{"role": }]}')
    for _ in range(3):
        page.get_by_role("textbox", name="Request as JSON").press("ArrowLeft")
    page.keyboard.type('"dev')
    expect(page.get_by_role("option", name=re.compile("developer"))).to_be_visible()


def test_the_same_request_as_code(visit: Open, axe: Axe) -> None:
    page = at(visit, "echo")
    write(page, '{"messages": [{"role": "user", "content": "it\'s"}], "stream": true}')
    page.get_by_role("tab", name="curl").click()
    expect(page.locator("pre")).to_contain_text("-sSN")
    page.get_by_role("tab", name="Python").click()
    for client, word in (("OpenAI", "for event"), ("MLflow", "predict_stream"), ("LangChain", ".stream(")):
        page.get_by_role("radio", name=client).check()
        expect(page.locator("pre")).to_contain_text(word)
    axe(page)
    page.get_by_role("tab", name="SQL").last.click()
    expect(page.locator("pre")).to_contain_text("ai_query(")
    expect(page.get_by_text("SQL has no streams")).to_be_visible()
    page.get_by_role("button", name="Copy", exact=True).click()
    assert "it\\'s" in page.evaluate("navigator.clipboard.readText()")


def test_on_a_phone(visit: Open, axe: Axe, shot: Shot) -> None:
    page = at(visit, "echo", width=360, height=700, dark=True)
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_text(re.compile("Status 200"))).to_be_visible()
    axe(page)
    shot(page, "query-phone-dark", full=True)


def test_a_number_that_a_browser_rounds_is_sent_as_it_was_typed(visit: Open) -> None:
    page = at(visit, "echo")
    write(page, '{"messages": [{"role": "user", "content": "hi"}], "seed": 9007199254740993}')
    expect(page.get_by_text("Whole numbers beyond")).to_be_visible()
    with page.expect_request("**/invocations") as sent:
        page.get_by_role("button", name="Send request").click()
    assert "9007199254740993" in (sent.value.post_data or "")
