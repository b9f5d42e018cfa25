"""The serving pages: found, looked at, made, changed, deleted, and only by those who may."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, expect
from tests.browser.conftest import XSS, Open, api, make
from tests.system.processes import Served, until

Axe = Callable[[Page], None]
Shot = Callable[..., None]


def test_the_list_is_searched_filtered_and_sorted(visit: Open, axe: Axe, shot: Shot) -> None:
    page = visit("/serving")
    rows = page.locator("tbody tr")
    expect(page.get_by_role("link", name="echo", exact=True)).to_be_visible()
    axe(page)
    shot(page, "serving-list")
    page.get_by_role("searchbox").fill("fast")
    expect(rows).to_have_count(4)
    assert "q=fast" in page.url
    page.get_by_label("Task").select_option("llm/v1/embeddings")
    expect(page.get_by_text("No endpoint fits")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("vectors")
    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_label("Task").select_option("")
    names = page.locator("tbody .name")
    before = names.all_inner_texts()
    page.get_by_role("button", name=re.compile("^Name")).click()
    expect(page.get_by_role("columnheader", name=re.compile("^Name"))).to_have_attribute("aria-sort", "descending")
    assert names.all_inner_texts() == before[::-1]


def test_an_endpoint_is_made_through_the_form_with_the_apis_own_objections(
    visit: Open, server: Served, axe: Axe, shot: Shot
) -> None:
    page = visit("/serving")
    page.get_by_role("link", name="Create endpoint").click()
    page.get_by_label("Name", exact=True).fill("not a name!")
    page.get_by_label("Provider").select_option("scripted")
    page.locator("input[required].mono").nth(1).fill("echo")
    axe(page)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile("name|letters"))
    shot(page, "serving-form-objection")
    expect(page.locator("input[required].mono").nth(1)).to_have_value("echo")
    page.get_by_label("Name", exact=True).fill("made-here")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_label("Key").fill("team")
    page.get_by_label("Value").fill("red")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page).to_have_url(re.compile("/serving/made-here$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("made-here")
    expect(page.get_by_text("team: red")).to_be_visible()
    assert api(server, "GET", "/api/2.0/serving-endpoints/made-here")["tags"] == [{"key": "team", "value": "red"}]
    axe(page)
    shot(page, "serving-endpoint")


def test_the_request_can_be_written_as_json(visit: Open, server: Served) -> None:
    page = visit("/serving-create")
    page.get_by_role("tab", name="JSON").click()
    editor = page.get_by_role("textbox", name="JSON")
    editor.fill("{")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_text("This is not valid JSON")).to_be_visible()
    model = {"name": "echo", "provider": "scripted", "task": "llm/v1/chat"}
    body = {"name": "from-json", "config": {"served_entities": [{"name": "x", "external_model": model}]}}
    editor.fill(json.dumps(body))
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("from-json")
    page.get_by_role("tab", name="JSON").click()
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page).to_have_url(re.compile("/serving/from-json$"))


def test_traffic_is_changed_and_what_is_not_saved_is_asked_about(visit: Open, server: Served, shot: Shot) -> None:
    make(server, "split")
    page = visit("/serving/split")
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("button", name="Add served entity").click()
    second = page.get_by_role("group", name="Served entity 2")
    second.get_by_label("Provider").select_option("scripted")
    second.locator("input[required]").fill("echo")
    second.get_by_label("Name of the entity").fill("two")
    second.get_by_label("Traffic, %").fill("30")
    expect(page.get_by_text("Traffic adds up to 130 %")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("must add up to 100")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("link", name="SQL").click()
    expect(page).to_have_url(re.compile("/edit$"))
    page.get_by_role("group", name="Served entity 1").get_by_label("Traffic, %").fill("70")
    shot(page, "serving-form")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile("/serving/split$"))
    expect(page.get_by_role("row", name=re.compile("two"))).to_contain_text("30 %")


def sealed(server: Served, name: str) -> None:
    """Two entities whose keys nobody is ever shown."""
    about = {"provider": "openai", "task": "llm/v1/chat", "openai_config": {"openai_api_key_plaintext": "sk-1"}}
    entities = [{"name": one, "external_model": {"name": "gpt-4.1", **about}} for one in ("one", "two")]
    routes = [
        {"served_entity_name": "one", "traffic_percentage": 60},
        {"served_entity_name": "two", "traffic_percentage": 40},
    ]
    config = {"served_entities": entities, "traffic_config": {"routes": routes}}
    limits = [{"calls": 900, "renewal_period": "minute"}]
    api(server, "POST", "/api/2.0/serving-endpoints", {"name": name, "config": config, "rate_limits": limits})


def test_traffic_is_changed_without_typing_keys_again(visit: Open, server: Served) -> None:
    sealed(server, "sealed")
    page = visit("/serving/sealed/edit")
    page.get_by_role("group", name="Served entity 1").get_by_label("Traffic, %").fill("10")
    page.get_by_role("group", name="Served entity 2").get_by_label("Traffic, %").fill("90")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile("/serving/sealed$"))
    expect(page.get_by_role("row", name=re.compile("^two"))).to_contain_text("90 %")
    found = api(server, "GET", "/api/2.0/serving-endpoints/sealed")
    assert [one["traffic_percentage"] for one in found["config"]["traffic_config"]["routes"]] == [10, 90]
    assert found["rate_limits"][0]["calls"] == 900


def test_what_an_endpoint_has_beside_is_changed_as_json(visit: Open, server: Served) -> None:
    sealed(server, "beside")
    page = visit("/serving/beside/edit")
    page.get_by_role("tab", name="JSON").click()
    editor = page.get_by_role("textbox", name="JSON")
    expect(editor).to_contain_text("beside")
    request = api(server, "GET", "/api/2.0/serving-endpoints/beside")
    config = {name: request["config"][name] for name in ("served_entities", "traffic_config")}
    body = {"name": "beside", "config": config, "rate_limits": [{"calls": 7, "renewal_period": "minute"}]}
    editor.fill(json.dumps(body | {"route_optimized": True}))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("route_optimized")
    editor.fill(json.dumps(body))
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile("/serving/beside$"))
    assert api(server, "GET", "/api/2.0/serving-endpoints/beside")["rate_limits"][0]["calls"] == 7


def test_an_objection_stands_at_its_field_and_keys_are_covered(visit: Open) -> None:
    page = visit("/serving-create")
    page.get_by_label("Name", exact=True).fill("at-its-field")
    page.get_by_label("Model", exact=True).fill("gpt-4.1")
    key = page.get_by_label("openai_api_key")
    key.press_sequentially("sk-secret")
    expect(key).to_have_attribute("type", "password")
    expect(key).to_have_value("sk-secret")
    page.get_by_label("openai_api_base").fill("zzz")
    page.get_by_role("button", name="Create", exact=True).click()
    wrong = page.get_by_label("openai_api_base")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_accessible_description(re.compile("must begin with http"))
    key.fill("{{secrets/none/such}}")
    expect(key).to_have_attribute("type", "text")
    wrong.fill("http://127.0.0.1:9/v1")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(key).to_have_accessible_description(re.compile("no secret scope"))


def test_the_back_button_asks_as_well_and_so_does_typed_json(visit: Open) -> None:
    page = visit("/serving")
    page.get_by_role("link", name="Create endpoint").click()
    page.get_by_role("tab", name="JSON").click()
    editor = page.get_by_role("textbox", name="JSON")
    editor.fill("{half a request")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", stay)
    page.go_back()
    until(lambda: page.evaluate("1") and asked)
    expect(page).to_have_url(re.compile("/serving-create$"))
    page.get_by_role("link", name="SQL").click()
    until(lambda: page.evaluate("1") and len(asked) == 2)
    expect(editor).to_contain_text("{half a request")


def test_the_bare_address_of_the_list_takes_the_filters_away(visit: Open) -> None:
    page = visit("/serving?q=vectors")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    page.get_by_role("navigation").get_by_role("link", name="Serving").click()
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.get_by_role("link", name="echo", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("vectors")
    expect(rows).to_have_count(1)


def test_the_browser_s_tab_says_which_page_it_is(visit: Open) -> None:
    page = visit("/serving")
    expect(page).to_have_title("Serving · Tesela")
    page.get_by_role("link", name="echo", exact=True).click()
    expect(page).to_have_title("echo · Serving · Tesela")
    page.get_by_role("link", name="SQL").click()
    expect(page).to_have_title("SQL · Tesela")


def test_a_tab_whose_code_cannot_be_had_says_so(visit: Open) -> None:
    page = visit("/serving/echo")
    expect(page.get_by_role("tab", name="Activity")).to_be_visible()
    page.route("**/assets/*", lambda route: route.abort())
    page.get_by_role("tab", name="Activity").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("tab", name="Overview").click()
    expect(page.get_by_role("row", name=re.compile("scripted"))).to_be_visible()


def test_cards_are_sorted_on_a_phone(visit: Open) -> None:
    page = visit("/serving", width=360, height=700)
    names = page.locator("tbody .name")
    expect(names.first).to_be_visible()
    before = names.all_inner_texts()
    page.get_by_label("Sort by").select_option("name-")
    expect(names.first).to_have_text(before[-1])
    assert names.all_inner_texts() == before[::-1]


def test_tags_permissions_and_deleting(visit: Open, server: Served, somebody: Callable[[str], str], axe: Axe) -> None:
    make(server, "managed")
    somebody("ann@example.com")
    page = visit("/serving/managed")
    page.get_by_label("Key").fill("stage")
    page.get_by_label("Value").fill("test")
    page.get_by_role("button", name="Add tag").click()
    expect(page.get_by_text("stage: test")).to_be_visible()
    page.get_by_role("button", name="Remove stage").click()
    expect(page.get_by_text("stage: test")).to_have_count(0)
    page.get_by_role("tab", name="Permissions").click()
    page.get_by_label("Who").fill("nobody@example.com")
    page.get_by_role("button", name="Grant").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody@example.com")
    page.get_by_label("Who").fill("ann@example.com")
    page.get_by_role("button", name="Grant").click()
    level = page.get_by_label("Permission of ann@example.com")
    expect(level).to_have_value("CAN_QUERY")
    axe(page)
    level.select_option("CAN_MANAGE")
    expect(page.get_by_label("Permission of ann@example.com")).to_have_value("CAN_MANAGE")
    page.get_by_role("button", name="Revoke ann@example.com").click()
    expect(page.get_by_label("Permission of ann@example.com")).to_have_count(0)
    page.get_by_role("button", name="Delete").click()
    confirm = page.get_by_role("button", name="Delete endpoint")
    expect(confirm).to_be_disabled()
    page.get_by_label("Type managed to confirm").fill("managed")
    confirm.click()
    expect(page).to_have_url(re.compile("/serving$"))
    expect(page.get_by_role("link", name="managed", exact=True)).to_have_count(0)


def test_what_the_file_says_is_changed_in_the_file(visit: Open) -> None:
    page = visit("/serving/echo")
    expect(page.get_by_text("comes from the configuration file")).to_be_visible()
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)


def test_who_may_only_query_sees_no_buttons_for_more(
    visit: Open, server: Served, somebody: Callable[[str], str]
) -> None:
    token = somebody("bea@example.com")
    make(server, "hers")
    id_ = api(server, "GET", "/api/2.0/serving-endpoints/hers")["id"]
    page = visit("/serving", token=token)
    expect(page.get_by_text("No endpoint yet")).to_be_visible()
    grant = {"access_control_list": [{"user_name": "bea@example.com", "permission_level": "CAN_QUERY"}]}
    api(server, "PATCH", f"/api/2.0/permissions/serving-endpoints/{id_}", grant)
    page.reload()
    page.get_by_role("link", name="hers", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("hers")
    expect(page.get_by_role("tab", name="Query")).to_be_visible()
    denied = (("link", "Edit"), ("button", "Delete"), ("tab", "Logs"), ("tab", "Permissions"), ("button", "Add tag"))
    for role, name in denied:
        expect(page.get_by_role(role, name=name)).to_have_count(0)  # type: ignore[arg-type]
    page.goto("/serving/hers?tab=permissions")
    expect(page.get_by_role("tab", name="Overview")).to_have_attribute("aria-selected", "true")
    page.goto("/serving/hers/edit")
    expect(page.get_by_text("but not change it")).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    other = visit("/serving/echo", token=token)
    expect(other.get_by_role("alert")).to_contain_text("403")


def test_what_an_endpoint_did(visit: Open, server: Served, axe: Axe, shot: Shot) -> None:
    make(server, "busy-bee")
    page = visit("/serving/busy-bee?tab=activity")
    expect(page.get_by_text("No requests in this time")).to_be_visible()
    for _ in range(3):
        ask = {"messages": [{"role": "user", "content": "Hi"}]}
        api(server, "POST", "/serving-endpoints/busy-bee/invocations", ask)
    with pytest.raises(urllib.error.HTTPError):
        api(server, "POST", "/serving-endpoints/busy-bee/invocations", {"messages": []})
    expect(page.get_by_text(re.compile(r"^\s*3 requests|^\s*4 requests"))).to_be_visible()
    expect(page.get_by_role("table").last.get_by_role("row")).to_have_count(4)
    expect(page.locator("canvas")).to_have_count(4)
    axe(page)
    shot(page, "serving-activity", full=True)
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("region", name="Requests a minute").get_by_role("row")).not_to_have_count(1)


def test_hostile_names_and_tags_are_shown_and_not_run(visit: Open, server: Served) -> None:
    tags = [{"key": f"t{number}", "value": text} for number, text in enumerate(XSS)]
    # The same key twice is possible, and both are shown.
    make(server, "hostile", tags=[*tags, {"key": "t0", "value": "twice"}], description=XSS[0])
    page = visit("/serving?q=hostile")
    expect(page.get_by_text(XSS[0]).first).to_be_visible()
    page.get_by_role("link", name="hostile", exact=True).click()
    for text in (*XSS, "t0: twice"):
        expect(page.get_by_text(text).last).to_be_visible()
    page.goto("/serving/%3Cimg%20src%3Dx%20onerror%3Dwindow.hurt%3D1%3E")
    expect(page.get_by_role("alert")).to_contain_text("There is no endpoint <img")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone(visit: Open, axe: Axe, shot: Shot, dark: bool) -> None:
    theme = "dark" if dark else "light"
    page = visit("/serving", width=360, height=700, dark=dark)
    expect(page.get_by_role("link", name="echo", exact=True)).to_be_visible()
    axe(page)
    shot(page, f"serving-phone-{theme}")
    page.get_by_role("link", name="echo", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("echo")
    axe(page)
    shot(page, f"serving-phone-endpoint-{theme}")
    page.goto("/serving-create")
    expect(page.get_by_label("Name", exact=True)).to_be_visible()
    axe(page)
    shot(page, f"serving-phone-form-{theme}")


def test_a_thousand_endpoints_are_searched_at_once(visit: Open) -> None:
    page = visit("/serving", token=None)
    one = {"creation_timestamp": 1, "last_updated_timestamp": 1, "task": "llm/v1/chat", "state": {"ready": "READY"}}
    entities = {"config": {"served_entities": [{"name": "m"}]}}
    many = [{"name": f"endpoint-{n}", "id": str(n), **one, **entities} for n in range(1000)]
    # What the browser does with so many is asked here, not what the server does.
    page.route("**/api/2.0/serving-endpoints", lambda route: route.fulfill(json={"endpoints": many}))
    user = {"user": {"id": "1", "name": "a", "admin": True}}
    page.route("**/tesela/session", lambda route: route.fulfill(json=user))
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(100)
    page.get_by_role("searchbox").fill("endpoint-77")
    expect(page.locator("tbody tr")).to_have_count(11)
    until(lambda: page.get_by_role("status").first.inner_text().startswith("11 "))
