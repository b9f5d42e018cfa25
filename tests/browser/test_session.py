"""Signing in and out, the frame of every page, and what happens when the session or the server is gone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.conftest import Open
from tests.system.processes import Served, until

Axe = Callable[[Page], None]
Shot = Callable[..., None]


def test_the_printed_address_signs_in_once(visit: Open, server: Served, shot: Shot) -> None:
    address = re.search(r"open (http\S+)", server.banner)
    assert address, server.banner
    page = visit(address[1], token=None)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    assert "code" not in page.url
    shot(page, "first-visit")
    page.reload()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    again = visit(address[1], token=None)
    expect(again.get_by_role("alert")).to_contain_text("was used before")
    expect(again.get_by_label("Access token")).to_be_visible()


def test_a_token_signs_in(visit: Open, server: Served, axe: Axe, shot: Shot) -> None:
    page = visit("/serving", token=None)
    field = page.get_by_label("Access token")
    expect(field).to_be_visible()
    axe(page)
    shot(page, "sign-in")
    field.fill("dapi" + "0" * 32)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid here")
    expect(field).to_have_value("dapi" + "0" * 32)
    field.fill(f"  {server.token} ")
    field.press("Enter")
    expect(page.get_by_role("link", name="Serving")).to_have_attribute("aria-current", "page")
    assert page.evaluate("document.cookie") == ""
    assert server.token not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")


def test_signing_out(visit: Open) -> None:
    page = visit("/serving")
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Access token")).to_be_visible()


def test_a_session_that_could_not_be_ended_is_told(visit: Open) -> None:
    page = visit("/serving")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    refusal = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the store does not answer"}

    def refused(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json=refusal)
        else:
            route.continue_()

    page.route("**/tesela/session", refused)
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_contain_text("the store does not answer")


def test_every_page_works_over_plain_http_by_another_name(visit: Open, server: Served) -> None:
    """As from another machine: browsers keep `crypto.randomUUID` and the clipboard for https and this machine."""
    page = visit("/playground", host=server.host.replace("127.0.0.1", "tesela.test"), token=None)
    page.get_by_label("Access token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("combobox", name="Endpoint").select_option("echo")
    assert page.evaluate("[window.isSecureContext, typeof crypto.randomUUID]") == [False, "undefined"]
    page.get_by_role("textbox", name="Message").fill("```\ncopied code\n```")
    page.keyboard.press("Enter")
    copy = page.get_by_role("article", name="Assistant").locator(".code-bar button")
    copy.click()
    expect(copy).to_have_text("Copied")
    page.get_by_role("textbox", name="Message").press("Control+v")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("copied code\n")
    page.get_by_role("link", name="Serving").click()
    expect(page.get_by_role("link", name="echo", exact=True)).to_be_visible()
    page.get_by_role("link", name="SQL").click()
    expect(page.get_by_role("button", name="Run")).to_be_visible()


def test_a_server_that_cannot_be_reached_is_told_and_tried_again(visit: Open) -> None:
    page = visit("/serving", token=None)
    expect(page.get_by_label("Access token")).to_be_visible()
    page.route("**/api/**", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Access token")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_theme_and_language(visit: Open, axe: Axe, shot: Shot, dark: bool) -> None:
    page = visit("/serving", dark=dark)
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(background)
    page.get_by_label("Account").click()
    page.get_by_label("Theme").select_option("light" if dark else "dark")
    until(lambda: page.evaluate(background) != first)
    page.get_by_label("Language").select_option("es")
    expect(page.get_by_text("Cerrar sesión")).to_be_visible()
    axe(page)
    shot(page, f"menu-{'light' if dark else 'dark'}")
    page.reload()
    expect(page.get_by_label("Cuenta")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "es"
    until(lambda: page.evaluate(background) != first)


def test_the_browser_says_which_language(visit: Open) -> None:
    page = visit("/serving", language="es-MX")
    expect(page.get_by_label("Cuenta")).to_be_visible()


def test_an_address_that_nobody_has(visit: Open) -> None:
    page = visit("/serving")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.evaluate("history.pushState(null, '', '/nowhere'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_text("There is no page at this address")).to_be_visible()
    page.get_by_role("link", name="Go to the Playground").click()
    expect(page).to_have_url(re.compile("/playground$"))


def test_by_keyboard_alone(visit: Open) -> None:
    page = visit("/serving")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()
    account = page.get_by_label("Account")
    account.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Theme")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Theme")).to_be_hidden()
    expect(account).to_be_focused()
