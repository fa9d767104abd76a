"""`servescope top` against a server on a socket, which goes away and comes back elsewhere."""

import contextlib
import json
import socket
import threading

import pytest
import uvicorn

from servescope.cli import access
from servescope.cli.data import configured
from servescope.cli.main import main
from servescope.server import create_app
from servescope.terminal.asking import Asker
from store.database import server_file


@contextlib.contextmanager
def serving(runtime):
    """The API on a port that the system gives, told of beside the store as a server does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
    config = uvicorn.Config(create_app(runtime), host="127.0.0.1", port=port, log_level="warning",
                            lifespan="off")  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    path = server_file(runtime.database.path)
    path.write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}), "utf-8")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        path.unlink()


@pytest.fixture
def store(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return filled.database.path


def test_one_picture_goes_into_a_pipe(filled, store, capsys):
    """Without a terminal, without colours; the document is the API's."""
    with serving(filled):
        assert main(["top", "--store", str(store)]) == 0
        text = capsys.readouterr().out
        assert "\x1b" not in text
        assert text.startswith("servescope top  data ")
        assert "llama" in text
        assert main(["top", "--store", str(store), "--json"]) == 0
        body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "servescope.top/1"
    assert body["data"]["view"] == "top"


def test_without_a_server_it_says_so(store, capsys):
    """Exit 4, as of every command that needs one."""
    assert main(["top", "--store", str(store)]) == 4
    assert "no server holds this store" in capsys.readouterr().err


def test_a_pace_that_there_is_not_is_refused(store, capsys):
    """With those that there are."""
    assert main(["top", "--store", str(store), "--refresh", "3"]) == 2
    assert "1, 2, 5 or 10 seconds" in capsys.readouterr().err


def test_a_server_that_came_back_elsewhere_is_found(filled, store):
    """An answer, the reason why there is none, and an answer again from another port."""
    asker = Asker(lambda: access.the_server(configured(store, None)), {})
    with contextlib.closing(asker):
        with serving(filled):
            assert asker.ask().document["view"] == "top"
        assert "no answer" in asker.ask().trouble
        assert "no server holds this store" in asker.ask().trouble
        with serving(filled):
            assert asker.ask().document["view"] == "top"


def test_without_textual_it_says_how_to_get_it(filled, store, capsys, monkeypatch):
    """The live view needs it, one picture does not."""
    with serving(filled):
        monkeypatch.setattr("servescope.cli.top._is_terminal", lambda: True)
        monkeypatch.setattr("servescope.cli.top.find_spec", lambda name: None)
        assert main(["top", "--store", str(store)]) == 2
        assert "servescope[tui]" in capsys.readouterr().err
        assert main(["top", "--store", str(store), "--once"]) == 0
