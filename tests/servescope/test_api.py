"""The REST API as its users meet it."""

import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from analysis.views import VIEWS
from servescope.api.negotiate import choose
from servescope.server import create_app
from store.database import incoming_folder
from store.errors import InputError

API = "/api/v1"


def problem(answer, status, code):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"].endswith(code)
    assert body["title"]
    return body


def test_the_root_of_the_api_says_what_there_is(client):
    """The address that `servescope up` prints leads somewhere, and each path it lists answers."""
    body = client.get(API).json()
    assert client.get(body["description"]).json()["openapi"].startswith("3.")
    assert {f"{API}/requests", f"{API}/views", f"{API}/health"} <= set(body["paths"])
    for path in body["paths"]:
        assert client.get(path).status_code == 200, path


def test_an_upload_that_is_no_table_of_ours_leaves_nothing(client, filled):
    """Garbage is refused with the reason; no row and no file stays behind."""
    for body in (b"", b"PAR1 not really", b"a,b\n1,2\n"):
        problem(client.post(f"{API}/imports", content=body), 400, "input")
    assert not list(incoming_folder(filled.database.path).iterdir())
    assert client.get(f"{API}/imports").json()["rows"] == []


def test_an_export_comes_back_through_an_upload(client):
    """Parquet out, Parquet in: every row is recognised."""
    file = client.get(f"{API}/export/requests")
    assert 'filename="requests-parquet.parquet"' in file.headers["content-disposition"]
    (report,) = client.post(f"{API}/imports", content=file.content).json()["imports"]
    assert (report["rows_added"], report["rows_duplicate"]) == (0, 60)
    assert client.get(f"{API}/export/requests?format=azure").text.startswith("TIMESTAMP,")
    problem(client.get(f"{API}/export/requests?format=doc"), 400, "input")


@pytest.mark.parametrize("path", ["/nope", "/api", f"{API}/nope", "/metrics/x", "/docs", "/redoc"])
def test_an_unknown_path_is_a_problem_document(client, path):
    """A typo never answers 200 HTML."""
    problem(client.get(path), 404, "not_found")


def test_a_wrong_method_is_a_problem_document(client):
    """405 comes in the same form and says what is allowed."""
    answer = client.delete(f"{API}/requests")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    preview = client.put(f"{API}/reports/schedules/a/preview")
    assert preview.headers["allow"] == "GET"
    assert client.post("/metrics").headers["allow"] == "GET"


def test_half_a_character_is_refused_by_every_operation(client):
    """JSON may spell half of a surrogate pair, which nothing behind the API can write down."""
    asked = 0
    for path, told in client.app.openapi()["paths"].items():
        for method, described in told.items():
            content = described.get("requestBody", {}).get("content", {})
            if "application/json" in content and path.startswith(API):
                answer = client.request(
                    method, path.replace("{", "").replace("}", ""),
                    content=b'{"a": "\\ud800"}', headers={"Content-Type": "application/json"},
                )  # fmt: skip
                assert answer.status_code in range(400, 500), (method, path, answer.text)
                asked += 1
    assert asked > 25


@pytest.mark.parametrize("body", [b'{"sql": "\\udc00"}', b'{"sql": NaN}', b'{"sql": "\xff"}'])
def test_what_is_no_json_is_refused_before_it_is_used(client, body):
    """Python's reader would take all of these; the standard has none of them."""
    headers = {"Content-Type": "application/json"}
    problem(client.post(f"{API}/sql", content=body, headers=headers), 422, "validation")


def test_a_damaged_upload_is_refused_as_the_sender_s(client):
    """Wherever a Parquet file is damaged, it is the file's fault: 4xx, never 500."""
    whole = client.get(f"{API}/export/requests").content
    for place in range(4, len(whole) - 8, max(len(whole) // 16, 1)):
        damaged = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        answer = client.post(f"{API}/imports", content=damaged)
        assert answer.status_code < 500, (place, answer.text)


def test_validation_says_which_parameter(client):
    """A bad number is named."""
    body = problem(client.get(f"{API}/requests?limit=many"), 422, "validation")
    assert body["errors"][0]["where"] == "query.limit"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("source=nobody", "no source is called 'nobody'"),
        ("from=yesterday", "'yesterday' is not a time"),
        ("from=now&to=now-1h", "is empty"),
        ("from=now-99999999999999d", "outside 1900 to 2200"),
        ("to=0001-01-01", "outside 1900 to 2200"),
        ("to=9999-12-31T23:59:59-23:59", "outside 1900 to 2200"),
        ("sort=colour", "cannot sort by 'colour'"),
        ("status=happy", "no status is called 'happy'"),
        ("modle=llama", "there is no parameter 'modle'"),
        ("format=xml", "there is no format 'xml'"),
    ],
)
def test_a_bad_question_says_what_is_wrong_and_what_to_do(client, query, said):
    """Every refusal of a query has a hint."""
    body = problem(client.get(f"{API}/requests?{query}"), 400, "input")
    assert said in body["detail"]
    assert body["hint"]


def test_requests_come_a_page_at_a_time(client):
    """Following `next` gives every row once, in order."""
    path, seen = f"{API}/requests?limit=25", []
    while path:
        body = client.get(path).json()
        seen += [row["arrived_at"] for row in body["rows"]]
        path = body["next"]
    assert len(seen) == len(set(seen)) == 60
    assert seen == sorted(seen)
    assert seen[0].endswith("Z")


def test_requests_can_be_filtered_and_sorted(client):
    """Filters and order are the database's work."""
    rows = client.get(f"{API}/requests?status=failed&sort=-input_tokens").json()["rows"]
    assert [row["input_tokens"] for row in rows] == [59, 49, 39, 29, 19, 9]
    assert client.get(f"{API}/requests?model=other").json()["rows"] == []


def test_the_limit_is_capped(filled):
    """Nobody can ask for everything at once."""
    object.__setattr__(filled.config.server, "api_rows", 7)
    with TestClient(create_app(filled), base_url="http://127.0.0.1") as client:
        body = client.get(f"{API}/requests?limit=1000000").json()
    assert (body["limit"], len(body["rows"])) == (7, 7)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        (None, "application/json"),
    ],
)
def test_the_same_rows_in_the_form_that_was_asked_for(client, accept, media_type):
    """One table, four forms."""
    headers = {"accept": accept} if accept else {}
    answer = client.get(f"{API}/requests", headers=headers)
    assert answer.headers["content-type"] == media_type
    read = {
        "application/json": lambda body: pl.DataFrame(answer.json()["rows"]),
        "text/csv; charset=utf-8": pl.read_csv,
        "application/vnd.apache.parquet": pl.read_parquet,
        "application/vnd.apache.arrow.stream": pl.read_ipc_stream,
    }[media_type]
    frame = read(io.BytesIO(answer.content))
    assert frame["input_tokens"].to_list() == list(range(60))


def test_nothing_that_can_be_served_is_406(client):
    """A client that takes images only is told so."""
    problem(client.get(f"{API}/requests", headers={"accept": "image/png"}), 406, "not_acceptable")


def test_a_spreadsheet_runs_no_formula_of_a_tenant(client):
    """A tenant called =cmd() stays text."""
    text = client.get(f"{API}/requests?format=csv&limit=1").text
    assert ",'=cmd()," in text


@given(st.text(max_size=80))
def test_any_accept_header_is_answered_or_refused(accept):
    """No header makes the negotiation fail."""
    try:
        chosen = choose(None, accept)
    except HTTPException as error:
        chosen = error.status_code
    assert chosen in {"json", "csv", "parquet", "arrow", 406}


def test_a_format_parameter_beats_the_header():
    """Links in pages carry the format in the URL."""
    assert choose("csv", "application/json") == "csv"
    with pytest.raises(InputError):
        choose("xls", None)


def test_every_view_is_listed_with_its_question(client):
    """The list is the registry."""
    listed = client.get(f"{API}/views").json()["views"]
    assert [item["view"] for item in listed] == list(VIEWS)


def test_a_view_has_measures_with_units_and_tables(client):
    """The SLO page's numbers, as data."""
    body = client.get(f"{API}/views/slo_list").json()
    (row,) = body["frames"]["slos"]["rows"]
    assert (row["name"], row["attempted"], row["bad"]) == ("chat", 60, 6)
    assert body["scope"]["sources"] == ["live"]
    assert client.get(f"{API}/slo").json()["rows"] == [row]
    assert client.get(f"{API}/slo/chat").json()["view"] == "slo_detail"


def test_a_table_of_a_view_can_be_had_alone(client):
    """Chart cards link here for their CSV."""
    answer = client.get(f"{API}/views/slo_list/slos?format=csv")
    assert answer.text.splitlines()[0].startswith("name,kind,")
    assert 'filename="slo_list-slos.csv"' in answer.headers["content-disposition"]
    body = problem(client.get(f"{API}/views/slo_list/nothing"), 400, "input")
    assert "slos" in body["hint"]


def test_unknown_views_and_options_are_refused_with_the_nearest(client):
    """A typo in a view's name or option is no silent default."""
    assert "slo_list" in problem(client.get(f"{API}/views/slo_lst"), 400, "input")["hint"]
    problem(client.get(f"{API}/views/slo_list?colour=red"), 400, "input")


def test_viewers_share_one_computation(client, filled):
    """The second viewer of the same page costs nothing."""
    client.get(f"{API}/views/slo_list")
    before = filled.cache.stats().misses
    client.get(f"{API}/views/slo_list")
    assert filled.cache.stats().misses == before


def test_sql_reads_and_never_writes(client):
    """A SELECT answers, anything else is refused with 403."""
    answer = client.post(f"{API}/sql", json={"sql": "SELECT count(*) AS n FROM requests"})
    assert answer.json()["rows"] == [{"n": 60}]
    problem(client.post(f"{API}/sql", json={"sql": "DROP TABLE request"}), 403, "query_refused")
    problem(
        client.post(f"{API}/sql", json={"sql": "SELECT * FROM read_csv('/etc/passwd')"}),
        403,
        "query_refused",
    )


def test_sql_rows_come_as_csv_too(client):
    """The same negotiation as everywhere."""
    answer = client.post(
        f"{API}/sql", json={"sql": "SELECT 1 AS x"}, headers={"accept": "text/csv"}
    )
    assert answer.text == "x\n1\n"
    assert answer.headers["x-truncated"] == "false"


def test_sources_and_samples_answer(client):
    """What is there, and what was scraped."""
    (live,) = client.get(f"{API}/sources").json()["sources"]
    assert (live["name"], live["request_count"]) == ("live", 60)
    assert client.get(f"{API}/samples").json()["rows"] == []


def test_targets_cannot_be_added_where_nothing_is_scraped(client):
    """The refusal says which command scrapes."""
    body = problem(client.post(f"{API}/targets", json={"url": "http://gpu:8000"}), 400, "collect")
    assert "servescope up" in body["hint"]


def test_health_says_which_store_and_how_far_behind(client, filled):
    """The CLI recognises the holder of a store by this."""
    body = client.get(f"{API}/health").json()
    assert body["status"] == "ok"
    assert body["store"] == str(filled.database.path)
    assert body["write_lag_seconds"] == 0
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"


def test_a_broken_slo_file_is_said_and_the_old_one_stays(client, filled, clock):
    """A mistake in the file while the server runs takes nothing away."""
    client.get(f"{API}/slo")
    filled.slos.path.write_text("[[slo]]\nname = 3\n", "utf-8")
    clock.advance(10)
    assert len(client.get(f"{API}/slo").json()["rows"]) == 1
    body = client.get(f"{API}/health").json()
    assert body["status"] == "degraded"
    assert "slo.toml" in body["slo_file_problem"]


@pytest.mark.parametrize("page", ["versions", "settings", "threads", "queues"])
def test_the_running_server_can_be_looked_into(client, page):
    """Every part of the server is a JSON page."""
    assert client.get(f"{API}/-/{page}").status_code == 200


def test_a_fault_is_a_problem_document_without_its_insides(filled, monkeypatch, caplog):
    """A bug answers 500 in the same form; the traceback goes to the log only."""
    monkeypatch.setattr(type(filled), "catalog", lambda self: 1 / 0)
    with TestClient(create_app(filled), base_url="http://127.0.0.1") as client:
        body = problem(client.get(f"{API}/sources"), 500, "fault")
    assert "division" not in body["detail"]
    assert "request_failed" in caplog.text


def test_own_metrics_are_openmetrics_with_units(client):
    """Names start with servescope_, routes are patterns, unknown paths share one label."""
    client.get(f"{API}/views/slo_list")
    client.get("/nope/1")
    text = client.get("/metrics").text
    assert 'route="/api/v1/views/{name}"' in text
    assert 'route="unmatched"' in text
    assert "servescope_store_rows_added_total 60.0" in text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(name.startswith("servescope_") for name in names)


@pytest.mark.parametrize("sql", ["SELECT nope FROM requests", "SELECT 'x'::INT", "SELECT nope(1)"])
def test_senseless_sql_is_the_askers_mistake(client, sql):
    """A wrong name or value is answered with 400 and where to look, not with a fault of ours."""
    body = problem(client.post(f"{API}/sql", json={"sql": sql}), 400, "input")
    assert "SHOW TABLES" in body["hint"]


async def test_a_sender_that_leaves_within_an_upload_is_no_fault_of_ours(runtime, caplog):
    """It is noted in one line without a traceback, and leaves no file behind."""
    incoming = [{"type": "http.request", "body": b"PAR1", "more_body": True}]
    answers = []

    async def receive():
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": f"{API}/imports", "raw_path": f"{API}/imports".encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8787),
    }  # fmt: skip
    with caplog.at_level("INFO", "servescope.api"):
        await create_app(runtime)(scope, receive, send)
    assert [(entry.levelname, entry.message) for entry in caplog.records] == [
        ("INFO", "sender_left")
    ]
    assert answers == []
