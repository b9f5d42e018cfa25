"""How heavy and how quick the pages are, as a browser measures it.

The limits are those that the pages promise.  Of several tries the best one counts: what else the machine does beside is
not the page's fault.
"""

import json
import re
from typing import Any

from playwright.sync_api import expect
from tests.browser.conftest import Open
from tests.browser.test_playground import answers, at, say
from tests.system.processes import until

FIRST_VIEW_BYTES = 200_000
WATCH = """() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
    }).observe({ type: "longtask" });
}"""
LONG_TASK_MS = 100
TRIES = 3


def test_the_first_view_is_light_and_quick(visit: Open) -> None:
    page = visit("/", token=None)
    expect(page.get_by_label("Access token")).to_be_visible()
    ready = []
    for _ in range(TRIES):
        other = visit("/playground")
        expect(other.get_by_role("textbox", name="Message")).to_be_visible()
        sent: Any = other.evaluate(
            "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
            ".map((one) => [one.name, one.transferSize])"
        )
        total = sum(size for _, size in sent)
        assert 10_000 < total < FIRST_VIEW_BYTES, sent
        assert not [name for name, _ in sent if re.search("editor|highlight|uplot", name, re.IGNORECASE)]
        # Interactive: the place to type is there.  Told by the browser's own clock, since the page was asked for.
        ready.append(other.evaluate("performance.getEntriesByName('tesela-interactive')[0].startTime"))
    assert min(ready) < 1000, ready


def test_four_panes_at_200_tokens_a_second_stay_smooth(visit: Open) -> None:
    page = at(visit, "fast", width=1600)
    for name in ("fast-b", "fast-c", "fast-d"):
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("combobox", name="Endpoint").last.select_option(name)
    # The renderer is loaded with the first answer; what is watched is the streaming.
    say(page, "warm")
    expect(page.get_by_text(re.compile("tokens/s"))).to_have_count(4)
    page.evaluate(WATCH)
    longest = []
    for number in range(TRIES):
        page.evaluate("window.longest = 0")
        say(page, "Go on")
        expect(page.get_by_text(re.compile("tokens/s"))).to_have_count(8 + 4 * number)
        longest.append(page.evaluate("window.longest"))
    rates = [float(one) for one in re.findall(r"([\d.]+) tokens/s", page.inner_text("main"))]
    assert min(rates) > 100, rates
    assert min(longest) < LONG_TASK_MS, longest


def test_two_thousand_messages_scroll(visit: Open) -> None:
    page = at(visit, "echo")
    say(page, "first")
    expect(answers(page)).to_contain_text("first")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("tab", name="JSON").click()
    kept = json.loads(page.get_by_role("dialog").locator("pre").inner_text())
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    messages: list[dict[str, Any]] = []
    for number in range(2000):
        role = "assistant" if number % 2 else "user"
        text = f"Message {number} **bold** with `code`\n\n- one\n- two\n"
        before = messages[-1]["id"] if messages else None
        messages.append({"id": f"m{number}", "parent": before, "role": role, "content": text, "at": number})
    kept["conversation"]["panes"][0] |= {"messages": messages, "leaf": "m1999"}
    kept["conversation"] |= {"id": "long", "title": "a long one"}
    page.evaluate(WATCH)
    page.locator("input[type=file][accept='application/json,.json']").set_input_files(
        {"name": "c.json", "mimeType": "application/json", "buffer": json.dumps(kept).encode()}
    )
    expect(page.get_by_text("Message 1999 bold")).to_be_visible()
    assert page.get_by_role("article").count() < 100
    log = page.get_by_role("log")
    counts = [page.get_by_role("article").count()]
    while len(counts) < 12:
        log.evaluate("(list) => { list.scrollTop = 0; }")
        until(lambda: page.get_by_role("article").count() > counts[-1])
        counts.append(page.get_by_role("article").count())
    assert counts[-1] > 300
    say(page, "and on")
    expect(answers(page).last).to_contain_text("and on")
    assert page.evaluate("window.longest") < 3 * LONG_TASK_MS


def test_an_answer_of_a_hundred_thousand_characters(visit: Open) -> None:
    page = at(visit, "huge")
    page.evaluate(WATCH)
    say(page, "Write")
    expect(page.get_by_text(re.compile("20,000 tokens"))).to_be_visible(timeout=60_000)
    assert len(answers(page).inner_text()) > 100_000
    page.get_by_role("textbox", name="Message").fill("still quick")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("still quick")
    assert page.evaluate("window.longest") < 5 * LONG_TASK_MS
