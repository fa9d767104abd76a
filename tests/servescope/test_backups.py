"""Backups as people take them: by the API, by command, by schedule."""

import dataclasses
import io
import json
import tarfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from servescope import backups
from servescope.api.backups import BYTES_HEADER
from servescope.cli import doctor
from servescope.cli.main import main
from servescope.config import load
from servescope.maintenance import jobs_for
from store.errors import StoreFull
from store.settings import StoreSettings


@pytest.fixture
def settings(tmp_path):
    return StoreSettings(backup_folder=str(tmp_path / "kept"), backups_kept=2)


def with_settings(runtime, settings):
    runtime.config = dataclasses.replace(runtime.config, store=settings)
    return runtime


def test_the_api_gives_a_whole_archive(client):
    """Its last member names the others, with their sizes; the head says how much will come."""
    answer = client.post("/api/v1/backup")
    assert answer.status_code == 200
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = archive.getnames()
        manifest = json.loads(archive.extractfile("manifest.json").read())
    assert [*(told["name"] for told in manifest["files"]), "manifest.json"] == names
    assert sum(told["bytes"] for told in manifest["files"]) == int(answer.headers[BYTES_HEADER])


def test_who_may_not_see_names_gets_no_backup(filled):
    """A server that hides the names of tenants does not hand out the store that holds them."""
    from starlette.testclient import TestClient

    from servescope.server import create_app
    from servescope.veils import Veils

    filled.veils = Veils("pseudonyms", filled.database)
    with TestClient(create_app(filled), base_url="http://127.0.0.1:8787") as client:
        answer = client.post("/api/v1/backup")
    assert answer.status_code == 403
    assert "names of tenants" in answer.json()["detail"]


def test_a_schedule_takes_what_is_due_and_keeps_as_many_as_it_should(filled, settings, clock):
    """One at once, then one a day; the oldest goes, whatever else lies there stays."""
    runtime = with_settings(filled, settings)
    names = []
    for hours in (0, 1, 24, 24, 24):
        clock.advance(hours * 3600)
        done = backups.scheduled(runtime)
        assert (done is None) == (hours == 1)
        names += [done["path"].rsplit("/", 1)[1]] if done else []
        (Path(settings.backup_folder) / "servescope-mine").mkdir(exist_ok=True)
    left = sorted(path.name for path in Path(settings.backup_folder).iterdir())
    assert left == [*names[-2:], "servescope-mine"]
    assert done["rows"]["request"] == 60
    assert done["removed"] == [names[-3]]


def test_a_clock_that_was_set_back_does_not_stop_backups(filled, settings, clock):
    """A backup from the future is as none."""
    runtime = with_settings(filled, settings)
    assert backups.scheduled(runtime) is not None
    later = clock.now()
    assert backups.is_due(settings, later - timedelta(days=3))
    assert not backups.is_due(settings, later + timedelta(hours=1))


def test_the_job_runs_only_where_a_folder_is_set(filled, settings):
    """And Admin says how old the newest is, or why it cannot."""
    from servescope.own_numbers import measures

    assert "backup" not in {job.name for job in jobs_for(filled)}
    assert "not set" in measures(filled, "admin")["backup_age_seconds"].why
    runtime = with_settings(filled, settings)
    assert "backup" in {job.name for job in jobs_for(runtime)}
    assert measures(runtime, "admin")["backup_age_seconds"].value is None
    backups.scheduled(runtime)
    assert measures(runtime, "admin")["backup_age_seconds"].value == 0.0


def test_a_backup_that_would_fill_the_disk_is_not_begun(filled, tmp_path):
    """It says how much is free and how much is needed, and leaves the store as it was."""
    settings = StoreSettings(disk_reserve_bytes=1 << 60)
    with pytest.raises(StoreFull, match="a backup needs"):
        backups.take(filled.database, tmp_path / "kept", filled.clock.now(), settings)
    assert list((tmp_path / "kept").iterdir()) == []
    now = filled.clock.now().replace(tzinfo=None)
    frame = pl.DataFrame({"arrived_at": [now], "status": ["ok"]})
    assert filled.database.writer.append("request", frame).result() == 1


def told(capsys):
    return json.loads(capsys.readouterr().out)["data"]


@pytest.mark.parametrize("name", ["kept", "kept.tar"])
def test_backup_and_restore_by_command(filled, tmp_path, capsys, name):
    """Without a server; restored to another place it says what there is and up to when."""
    store = filled.database.path
    filled.database.close()
    assert main(["backup", str(tmp_path / name), "--store", str(store), "--json"]) == 0
    made = told(capsys)
    assert made["rows"]["request"] == 60
    other = tmp_path / "other.duckdb"
    assert main(["restore", made["path"], "--to", str(other), "--json"]) == 0
    found = told(capsys)
    assert found["rows"]["request"] == 60
    assert found["newest"]["requests"] == "2026-01-31 11:59:00"
    assert found["taken_at"] == made["taken_at"]
    assert main(["restore", made["path"], "--to", str(other)]) == 2
    assert "--replace" in capsys.readouterr().err


def test_doctor_tells_when_the_newest_backup_is_old(tmp_path):
    """Nobody backs up; none is there yet; the newest is from long ago."""
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    (line,) = doctor._backups(config)
    assert (line.level, line.subject) == ("note", "backup")
    folder = tmp_path / "kept"
    config = dataclasses.replace(config, store=StoreSettings(backup_folder=str(folder)))
    (line,) = doctor._backups(config)
    assert (line.level, "there is none" in line.text) == ("warn", True)
    old = folder / "servescope-20200101T000000Z"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text("{}")
    (line,) = doctor._backups(config)
    assert (line.level, "old" in line.text) == ("warn", True)
