"""The SQL page: statements written, run, canceled and found again; results as tables and as CSV."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from tests.browser.conftest import FILE, XSS, Open
from tests.system.processes import Served, until

pytest.importorskip("pysail")
pytest.importorskip("pyspark")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Axe = Callable[[Page], None]
Shot = Callable[..., None]
ANSWER_MS = 60_000
"""The engine starts with the first statement."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As the other tests have it, but the engine's own packages may warn."""
    with Served(tmp_path_factory.mktemp("sql"), file=FILE, environ={"PYTHONWARNINGS": "default"}) as running:
        yield running


def editor(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Statements of")


def write(page: Page, text: str) -> None:
    expect(page.locator(".cm-content")).to_be_visible()
    editor(page).click()
    page.keyboard.press("Control+a")
    # Chromium writes styles of its own when it puts a text in the place of a coloured one, which the policy forbids.
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


def run(page: Page, text: str, ends: str = "Done") -> None:
    write(page, text)
    page.keyboard.press("Control+Enter")
    expect(state(page)).to_have_text(ends, timeout=ANSWER_MS)


def state(page: Page) -> Locator:
    return page.get_by_role("region", name="Statement").locator(".badge")


def cells(page: Page) -> list[list[str]]:
    """What is in the document of the table, row by row."""
    grid = page.get_by_role("grid", name="Result")
    expect(grid.get_by_role("gridcell").first).not_to_have_text("…")
    return [row.get_by_role("gridcell").all_inner_texts() for row in grid.locator('.body [role="row"]').all()]


def test_a_statement_is_run_and_its_rows_are_shown(visit: Open, axe: Axe, shot: Shot) -> None:
    page = visit("/sql")
    expect(page.get_by_role("heading", name="Start with an example")).to_be_visible()
    axe(page)
    shot(page, "sql-empty")
    run(
        page,
        "SELECT id, ai_query('echo', 'Hello ' || id) AS answer, CASE WHEN id = 1 THEN '' END AS nothing, "
        "named_struct('a', array(1, 2)) AS shape FROM range(3) ORDER BY id",
    )
    assert cells(page) == [
        ["0", "Hello 0", "NULL", '{"a":[1,2]}'],
        ["1", "Hello 1", "", '{"a":[1,2]}'],
        ["2", "Hello 2", "NULL", '{"a":[1,2]}'],
    ]
    grid = page.get_by_role("grid", name="Result")
    heads = grid.get_by_role("columnheader").all_inner_texts()
    assert [" ".join(head.split()) for head in heads[1:]] == [
        "id BIGINT", "answer STRING", "nothing STRING", "shape STRUCT<a:ARRAY<INT>>"
    ]  # fmt: skip
    expect(grid.get_by_role("gridcell").first).to_have_css("text-align", "right")
    expect(page.get_by_text("3 rows")).to_be_visible()
    expect(page.get_by_text(re.compile("3 model calls"))).to_be_visible()
    axe(page)
    shot(page, "sql-result")


def test_a_cell_is_seen_whole_and_copied_by_keyboard(visit: Open, axe: Axe) -> None:
    page = visit("/sql")
    run(page, "SELECT 'plain' AS a, named_struct('x', array(1, 2), 'y', repeat('long ', 200)) AS b")
    grid = page.get_by_role("grid", name="Result")
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(grid.locator('[aria-selected="true"]')).to_contain_text("long long")
    active = grid.get_attribute("aria-activedescendant")
    assert active
    expect(page.locator(f"[id='{active}']")).to_contain_text("long long")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("region", name="Value")).to_contain_text('{\n  "x": [\n    1,\n    2\n  ],')
    axe(page)
    page.keyboard.press("Escape")
    grid.focus()
    page.keyboard.press("Control+c")
    copied = until(lambda: page.evaluate("navigator.clipboard.readText()"))
    assert json.loads(copied) == {"x": [1, 2], "y": "long " * 200}


def test_several_statements_run_in_one_session_until_one_fails(visit: Open, shot: Shot) -> None:
    page = visit("/sql")
    text = (
        "CREATE TEMPORARY VIEW v AS SELECT 'a;b' AS s; -- a view; of the session\n"
        "SELECT s FROM v;\nSELECT s,\n  nope FROM v;\nSELECT 4"
    )
    run(page, text, "Failed")
    tabs = page.get_by_role("tablist", name="Statements").get_by_role("tab")
    expect(tabs).to_have_count(4)
    expect(tabs.nth(1)).to_contain_text("Done")
    expect(tabs.nth(3)).to_contain_text("Not run")
    expect(page.get_by_role("alert")).to_contain_text("nope")
    tabs.nth(1).click()
    assert cells(page) == [["a;b"]]
    tabs.nth(3).click()
    expect(page.get_by_text("It was not run")).to_be_visible()
    shot(page, "sql-several")


def test_an_error_is_marked_at_its_place(visit: Open, axe: Axe, shot: Shot) -> None:
    page = visit("/sql")
    run(page, "SELECT 1;\nSELECT\n  ai_query('nowhere', 'x')", "Failed")
    expect(page.get_by_role("alert")).to_contain_text("'nowhere' does not exist (line 3, column 12)")
    expect(page.locator(".cm-lintRange-error").first).to_have_text("'nowhere'")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    page.get_by_role("button", name="Show line 3").click()
    expect(editor(page)).to_be_focused()
    axe(page)
    shot(page, "sql-error")
    # What is changed is no longer marked.
    page.keyboard.insert_text(" ")
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)


def test_a_selection_runs_alone(visit: Open) -> None:
    page = visit("/sql")
    write(page, "SELECT 'first' AS a;\nSELECT 'second' AS a;")
    page.keyboard.press("Shift+Home")
    page.get_by_role("button", name="Run selection").click()
    expect(state(page)).to_have_text("Done", timeout=ANSWER_MS)
    assert cells(page) == [["second"]]


def test_nothing_to_run_is_said(visit: Open) -> None:
    page = visit("/sql")
    write(page, "-- nothing; yet")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("There is no statement here")


def test_a_long_statement_is_canceled_on_the_server(visit: Open, server: Served, shot: Shot) -> None:
    page = visit("/sql")
    run(page, "SELECT ai_query('slow', 'Hello ' || id) AS a FROM range(50)", "Running")
    expect(page.get_by_text(re.compile(r"\d+ under way"))).to_be_visible(timeout=ANSWER_MS)
    shot(page, "sql-running")
    page.get_by_role("button", name="Cancel").click()
    expect(state(page)).to_have_text("Canceled", timeout=ANSWER_MS)
    found = statements(server)[0]
    assert found["status"]["state"] == "CANCELED"
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()


def statements(server: Served) -> list[dict[str, dict[str, str]]]:
    answer = requests.get(
        f"{server.host}/api/2.0/sql/statements", headers={"authorization": f"Bearer {server.token}"}, timeout=30
    )
    found: list[dict[str, dict[str, str]]] = answer.json()["statements"]
    return found


def test_csv_is_what_the_result_is_byte_for_byte(visit: Open, tmp_path: Path) -> None:
    page = visit("/sql")
    run(
        page,
        r"""SELECT * FROM VALUES (1, 'a,b', 'say "hi"'), (2, NULL, ''), (3, '=1+1', 'two
lines'), (4, 'ñ🙂', '-5') AS t(`id`, `na,me`, `q"`) ORDER BY id""",
    )
    with page.expect_download() as waited:
        page.get_by_role("button", name="Download CSV").click()
    assert waited.value.suggested_filename == "Query 1.csv"
    waited.value.save_as(tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_bytes() == (
        'id,"na,me","q"""\r\n1,"a,b","say ""hi"""\r\n2,,""\r\n3,=1+1,"two\nlines"\r\n4,ñ🙂,-5\r\n'
    ).encode()


def test_a_hundred_thousand_rows_scroll(visit: Open, tmp_path: Path) -> None:
    page = visit("/sql")
    page.get_by_role("combobox", name="Rows").select_option("All")
    run(page, "SELECT id, id * 2 AS double, 'row ' || id AS name FROM range(100000) ORDER BY id")
    expect(page.get_by_text("100,000 rows")).to_be_visible()
    grid = page.get_by_role("grid", name="Result")
    assert grid.get_attribute("aria-rowcount") == "100001"
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+End")
    expect(grid.get_by_role("gridcell", name="row 99999", exact=True)).to_be_visible()
    assert page.locator("[role=grid] *").count() < 600
    # A frame for each of 200 jumps across the table: none is late by more than a tenth of a second.
    slowest = grid.evaluate(
        """async (box) => {
            let slowest = 0, before = performance.now();
            for (let i = 0; i < 200; i++) {
                box.scrollTop = (i * 7919 % 200) / 200 * box.scrollHeight;
                await new Promise(requestAnimationFrame);
                const now = performance.now();
                slowest = Math.max(slowest, now - before);
                before = now;
            }
            return slowest;
        }"""
    )
    assert slowest < 400, f"a frame took {slowest:.0f} ms"
    assert page.locator("[role=grid] *").count() < 600
    page.keyboard.press("Control+Home")
    expect(grid.get_by_role("gridcell", name="row 0", exact=True)).to_be_visible()
    with page.expect_download() as waited:
        page.get_by_role("button", name="Download CSV").click()
    waited.value.save_as(tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "double", "name"]
    assert rows[1:] == [[str(i), str(2 * i), f"row {i}"] for i in range(100_000)]


def test_results_of_several_chunks(visit: Open) -> None:
    page = visit("/sql")
    page.get_by_role("combobox", name="Rows").select_option("All")
    run(page, "SELECT id, repeat('x', 1000) AS wide FROM range(60000) ORDER BY id")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/result/chunks/" in request.url else None)
    grid = page.get_by_role("grid", name="Result")
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+End")
    expect(grid.get_by_role("gridcell", name="59999", exact=True)).to_be_visible()
    assert any(int(one.rsplit("/", 1)[1]) > 0 for one in asked)


def test_a_result_that_is_cut_off_says_so(visit: Open, shot: Shot) -> None:
    page = visit("/sql")
    run(page, "SELECT id FROM range(1500) ORDER BY id")
    expect(page.get_by_text("Cut off at 1,000 rows")).to_be_visible()
    page.get_by_role("combobox", name="Rows").select_option("10,000")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("1,500 rows")).to_be_visible(timeout=ANSWER_MS)
    expect(page.get_by_text("Cut off")).to_have_count(0)


def test_hostile_texts_are_shown_and_never_run(visit: Open) -> None:
    page = visit("/sql", width=2560)
    listed = ", ".join("'" + text.replace("'", "\\'") + "'" for text in XSS)
    named = ", ".join(f"'v{i}' AS `{text.replace('`', '``')}`" for i, text in enumerate(XSS))
    run(page, f"SELECT explode(array({listed})) AS a, {named}")
    grid = page.get_by_role("grid", name="Result")
    for at, text in enumerate(XSS):
        expect(grid.get_by_role("gridcell", name=text, exact=True)).to_be_visible()
        expect(grid.locator(".title .name").nth(at + 1)).to_have_text(text)
    grid.get_by_role("gridcell").first.dblclick()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text(XSS[0])
    page.keyboard.press("Escape")
    run(page, f"SELECT `{XSS[0]}` FROM range(1)", "Failed")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill(XSS[0])
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("tab", name=XSS[0])).to_be_visible()
    page.get_by_role("button", name="History").click()
    expect(page.get_by_role("dialog").get_by_text(XSS[0]).first).to_be_visible()


def test_queries_are_named_deleted_and_brought_back(visit: Open) -> None:
    page = visit("/sql")
    write(page, "SELECT 'mine'")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("Sales")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="New query").click()
    write(page, "SELECT 'other'")
    page.get_by_role("tab", name="Sales").click()
    expect(editor(page)).to_have_text("SELECT 'mine'")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("tab", name="Sales")).to_have_count(0)
    expect(editor(page)).to_have_text("SELECT 'other'")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("tab", name="Sales")).to_have_attribute("aria-selected", "true")
    expect(editor(page)).to_have_text("SELECT 'mine'")
    page.reload()
    expect(page.get_by_role("tab", name="Sales")).to_have_attribute("aria-selected", "true")
    expect(editor(page)).to_have_text("SELECT 'mine'")


def test_what_runs_goes_on_when_the_page_is_left_and_is_found_again(visit: Open) -> None:
    page = visit("/sql")
    run(page, "SELECT ai_query('slow', 'Hello ' || id) AS a FROM range(3)", "Running")
    page.get_by_role("link", name="Serving").click()
    expect(page.get_by_role("heading", name="Serving")).to_be_visible()
    page.get_by_role("link", name="SQL").click()
    expect(state(page)).to_have_text("Running")
    page.reload()
    expect(state(page)).to_have_text("Running")
    expect(state(page)).to_have_text("Done", timeout=ANSWER_MS)
    assert len(cells(page)) == 3
    page.reload()
    expect(state(page)).to_have_text("Done")
    assert len(cells(page)) == 3
    page.get_by_role("button", name="History").click()
    past = page.get_by_role("dialog").get_by_role("listitem")
    expect(past).to_have_count(1)
    expect(past.first).to_contain_text("Done")
    past.first.get_by_role("button").click()
    expect(page.get_by_role("tab")).to_have_count(2)
    expect(editor(page)).to_contain_text("ai_query('slow'")


def test_two_windows_lose_nothing_of_each_other(visit: Open) -> None:
    one = visit("/sql")
    write(one, "SELECT 'one'")
    # What is typed is kept a moment later; a window that opens before has a query of its own.
    until(lambda: _texts(one) == ["SELECT 'one'"])
    two = one.context.new_page()
    two.goto("/sql")
    expect(editor(two)).to_have_text("SELECT 'one'")
    two.get_by_role("button", name="New query").click()
    write(two, "SELECT 'two'")
    expect(one.get_by_role("tab")).to_have_count(2)
    write(one, "SELECT 'one, longer'")
    two.reload()
    expect(editor(two)).to_have_text(re.compile("SELECT '(two|one, longer)'"))
    kept = until(lambda: _texts(one) == ["SELECT 'one, longer'", "SELECT 'two'"])
    assert kept


def _texts(page: Page) -> list[str]:
    key = page.evaluate("Object.keys(localStorage).find((name) => name.startsWith('tesela.sql.'))")
    kept = page.evaluate("(key) => localStorage.getItem(key)", key)
    return [one["text"] for one in json.loads(kept)["drafts"]] if kept else []


def test_an_ended_session_loses_nothing(visit: Open, server: Served) -> None:
    page = visit("/sql")
    write(page, "SELECT 'kept' AS a")
    page.context.clear_cookies()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Your session is over")).to_be_visible()
    expect(editor(page)).to_have_text("SELECT 'kept' AS a")
    page.get_by_label("Access token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Your session is over")).to_have_count(0)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(state(page)).to_have_text("Done", timeout=ANSWER_MS)
    assert cells(page) == [["kept"]]


def test_a_server_that_is_gone_for_a_while_is_asked_again(visit: Open) -> None:
    page = visit("/sql")
    run(page, "SELECT ai_query('slow', 'Hello') AS a", "Running")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_text("goes on at the server")).to_be_visible()
    page.context.set_offline(False)
    expect(state(page)).to_have_text("Done", timeout=ANSWER_MS)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_completion(visit: Open) -> None:
    page = visit("/sql")
    run(page, "CREATE OR REPLACE TABLE people AS SELECT 1 AS age, 'Ana' AS nickname", "Done")
    offered = page.locator(".cm-tooltip-autocomplete")
    write(page, "SELECT ai_cla")
    page.keyboard.type("s")
    expect(offered.get_by_text("ai_classify")).to_be_visible()
    write(page, "SELECT ai_query('ech")
    page.keyboard.type("o")
    expect(offered.get_by_text("echo").first).to_be_visible()
    write(page, "SELECT * FROM peop")
    page.keyboard.type("l")
    expect(offered.get_by_text("people")).to_be_visible(timeout=ANSWER_MS)
    write(page, "SELECT 1 FROM people WHERE nick")
    page.keyboard.type("n")
    expect(offered.get_by_text("nickname")).to_be_visible(timeout=ANSWER_MS)


def test_a_server_without_sql_says_what_to_install(visit: Open) -> None:
    page = visit("/", token=None)
    told = {"error_code": "NOT_IMPLEMENTED", "message": "SQL is not installed here: pip install 'tesela[sql]'"}
    user = {"user": {"id": "1", "name": "ann", "admin": False}, "version": "1", "sql": False}
    page.route("**/api/2.0/tesela/session", lambda route: route.fulfill(json=user))
    page.route("**/api/2.0/sql/**", lambda route: route.fulfill(status=501, json=told))
    page.route("**/api/2.0/serving-endpoints", lambda route: route.fulfill(json={"endpoints": []}))
    page.goto("/sql")
    expect(page.get_by_role("alert")).to_contain_text("pip install 'tesela[sql]'")
    write(page, "SELECT 1")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_have_count(2)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_phone_and_the_dark(visit: Open, axe: Axe, shot: Shot, language: str) -> None:
    page = visit("/sql", width=360, height=740, dark=True, language=language)
    expect(page.locator(".cm-content")).to_be_visible()
    page.locator(".cm-content").click()
    page.keyboard.insert_text("SELECT id, repeat('long ', 50) AS text, id * 1.5 AS number FROM range(40) ORDER BY id")
    page.get_by_role("button", name=re.compile("^(Run|Ejecutar)$")).click()
    expect(page.locator(".badge").first).to_have_text(re.compile("Done|Terminada"), timeout=ANSWER_MS)
    expect(page.get_by_role("gridcell").first).to_have_text("0")
    page.get_by_role("gridcell").nth(1).click()
    axe(page)
    shot(page, f"sql-phone-dark-{language}", full=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as it is when it was just installed, with the local models."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from conformance.server import models

    folder = tmp_path_factory.mktemp("fresh")
    (folder / "home").mkdir()
    cache = models() / "models"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "home" / "models").symlink_to(cache)
    file = json.dumps({"local_models": True, "emulate": "databricks"})
    with Served(folder, file=file, environ={"PYTHONWARNINGS": "default"}) as running:
        yield running


def test_the_examples_run_as_they_are_on_a_server_just_installed(visit: Open, installed: Served) -> None:
    page = visit("/sql", token=installed.token, host=installed.host)
    for at in range(3):
        page.locator(".example").nth(at).click()
        page.get_by_role("button", name="Run", exact=True).click()
        expect(state(page)).to_have_text(re.compile("Done|Failed"), timeout=2 * ANSWER_MS)
        expect(state(page)).to_have_text("Done")
        assert len(cells(page)) == 3
        page.get_by_role("button", name="New query").click()


def test_the_playground_of_a_server_just_installed_begins_with_its_own_model(visit: Open, installed: Served) -> None:
    page = visit("/playground", token=installed.token, host=installed.host)
    chosen = page.get_by_role("combobox", name="Endpoint")
    expect(chosen).to_have_value("smollm2-135m-instruct")
    expect(page.get_by_text("a demonstration model of 135 million parameters")).to_be_visible()
    chosen.select_option("databricks-meta-llama-3-3-70b-instruct")
    expect(page.get_by_text("Answered by smollm2-135m-instruct")).to_be_visible()
