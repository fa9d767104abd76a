"""Commands find their server, and may do there what their user may; TLS and addresses."""

import json
import ssl
import subprocess
import threading

import pytest

from servescope.cli.main import main
from servescope.cli.output import CommandError
from servescope.cli.server_way import way_to
from servescope.config import load
from servescope.listening import bind, key_file, url_of
from store.errors import ConfigError
from store.opening import server_file


def run(capsys, *arguments):
    """Exit code and document, or text, of a command."""
    code = main(["access", *arguments])
    out, error = capsys.readouterr()
    return code, (json.loads(out)["data"] if "--json" in arguments and out else out), error


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return ["--store", str(tmp_path / "s.duckdb")]


def test_people_are_added_before_there_is_a_server(store, tmp_path, capsys):
    """The first admin has to come from somewhere: from who owns the store."""
    password = tmp_path / "password"
    password.write_text("correct horse battery\n", "utf-8")
    code, text, _ = run(capsys, "add", "ana", "--role", "admin", "--password-file", str(password),
                        *store)  # fmt: skip
    assert (code, text) == (0, "ana may sign in as admin.\n")
    code, told, _ = run(capsys, "users", "--json", *store)
    assert [(u["name"], u["role"]) for u in told["users"]] == [("ana", "admin")]
    assert "argon2" not in json.dumps(told)


def test_a_token_goes_into_a_new_file_that_only_its_owner_reads(store, tmp_path, capsys):
    """And never over one that is there."""
    file = tmp_path / "token"
    given = ["token", "agent 1", "--scope", "ingest", "--to", str(file), *store]
    code, text, _ = run(capsys, *given)
    assert code == 0
    assert file.read_text("utf-8").startswith("ss_")
    assert file.read_text("utf-8").strip() not in text
    assert file.stat().st_mode & 0o077 == 0
    code, _, error = run(capsys, *given)
    assert code == 2
    assert "name a new file" in error


@pytest.mark.parametrize(("arguments", "words"), [
    (["add", "Ana", "--role", "admin"], "small letters"),
    (["add", "ana", "--role", "boss"], "viewer"),
    (["revoke", "nothing"], "no tokens that hold"), (["remove", "nobody"], "no user nobody"),
    (["token", "t", "--scope", "ingests"], "ingest"), (["end", "x"], "no such session"),
])  # fmt: skip
def test_mistakes_are_one_line_with_what_to_do(store, tmp_path, capsys, arguments, words):
    """Nothing is made, and the exit code says that it was the caller's."""
    if arguments[0] == "add":
        (tmp_path / "p").write_text("correct horse battery", "utf-8")
        arguments = [*arguments, "--password-file", str(tmp_path / "p")]
    code, _, error = run(capsys, *arguments, *store)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_only_a_server_that_asks_who_comes_may_be_reached_from_elsewhere():
    """Both ways out are named."""
    with pytest.raises(ConfigError) as caught:
        bind("0.0.0.0:0")
    assert "nobody signs in here" in str(caught.value)
    assert 'access.sign_in = "on"' in caught.value.hint
    assert "SSH tunnel" in caught.value.hint
    with bind("0.0.0.0:0", is_guarded=True) as sock:
        assert url_of(sock).startswith("http://127.0.0.1:")
        assert url_of(sock, is_tls=True).startswith("https://127.0.0.1:")


def test_a_command_shows_the_key_that_lies_beside_the_store(tmp_path, monkeypatch):
    """Where it may read it; a server elsewhere is named, with its token, by the environment."""
    store = tmp_path / "s.duckdb"
    assert way_to(store) is None
    server_file(store).write_text(json.dumps({"url": "http://127.0.0.1:9"}), "utf-8")
    assert way_to(store).token == ""
    key_file(store).write_text("the key", "ascii")
    assert way_to(store).client(1.0).headers["authorization"] == "Bearer the key"
    monkeypatch.setenv("SERVESCOPE_URL", "https://fleet.example/")
    file = tmp_path / "token"
    monkeypatch.setenv("SERVESCOPE_TOKEN_FILE", str(file))
    with pytest.raises(CommandError, match="cannot be read"):
        way_to(store)
    file.write_text("ss_1\n", "utf-8")
    way = way_to(store)
    assert (way.url, way.token, way.is_remote) == ("https://fleet.example", "ss_1", True)


def test_a_local_command_trusts_the_very_certificate_and_no_other(tmp_path):
    """It was made for the server's public name, which is not how this machine reaches it."""
    right, wrong = (certificate(tmp_path, name) for name in ("right", "wrong"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(right)
    with bind("127.0.0.1:0") as sock:
        answering = threading.Thread(target=answer_twice, args=(sock, context), daemon=True)
        answering.start()
        store = tmp_path / "s.duckdb"
        for file, is_trusted in ((right, True), (wrong, False)):
            told = {"url": url_of(sock, is_tls=True), "certificate": str(file)}
            server_file(store).write_text(json.dumps(told), "utf-8")
            way = way_to(store)
            with way.client(5.0) as client:
                if is_trusted:
                    assert client.get(way.url).text == "well"
                else:
                    with pytest.raises(Exception, match="certificate verify failed"):
                        client.get(way.url)
        answering.join(5)


def certificate(folder, name):
    """A certificate for fleet.example and its key, in one file."""
    file = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}.example", "-keyout", str(file),
         "-out", f"{file}c"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text("ascii") + (folder / f"{name}.pemc").read_text("ascii"), "ascii")
    return file


def answer_twice(sock, context):
    for _ in range(2):
        made, _ = sock.accept()
        try:
            with context.wrap_socket(made, server_side=True) as talk:
                talk.recv(4_096)
                talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
        except ssl.SSLError:
            made.close()


@pytest.mark.parametrize(("table", "words"), [
    ('[access]\nsign_in = "yes"', "access.sign_in must be one of: off, on"),
    ('[access]\nanonymous = "admin"', "access.anonymous must be one of"),
    ("[access]\nsession_hours = 0", "access.session_hours must be above 0"),
    ('[oidc]\nissuer = "https://idp"', "oidc.client_id"),
    ('[oidc]\nissuer = "idp"\nclient_id = "x"', "https://"),
    ('[oidc]\nroles = {sre = "root"}', "'root' is no role"),
    ('[server]\ntls_key_file = "k"', "without server.tls_certificate"),
    ('[server]\npublic_url = "fleet.example"', "server.public_url must begin with"),
])  # fmt: skip
def test_settings_that_cannot_work_are_named(tmp_path, table, words):
    """Before anything starts."""
    file = tmp_path / "servescope.toml"
    file.write_text(table, "utf-8")
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        load(file, {}, {})
