"""What Prometheus reads about the server itself."""

from servescope.importing import load_example
from store.database import incoming_folder

API = "/api/v1"


def test_imports_are_counted_apart_from_scrapes(client, filled):
    """Rows that were uploaded or loaded show up once, as what became of them."""
    file = client.get(f"{API}/export/requests").content
    client.post(f"{API}/imports", content=file)
    incoming_folder(filled.database.path).mkdir(exist_ok=True)
    load_example(filled.database, filled.imported)
    text = client.get("/metrics").text
    assert 'servescope_import_rows_total{outcome="added"} 28185.0' in text
    assert 'servescope_import_rows_total{outcome="duplicate"} 60.0' in text
    assert "servescope_store_rows_added_total 60.0" in text
    assert "servescope_store_rows_duplicate_total 0.0" in text
    assert "imports are counted by servescope_import_rows" in text


def test_requests_that_were_not_predicted_are_counted(client):
    """Prometheus sees how many live requests the ledger predicted, and how many it left out."""
    text = client.get("/metrics").text
    assert 'servescope_ledger_requests_total{outcome="predicted"} 0.0' in text
    assert 'servescope_ledger_requests_total{outcome="left_out"} 0.0' in text
