"""What tests of actuators share."""

import shutil
import subprocess

import pytest


@pytest.fixture
def certificate(tmp_path):
    """Makes a key and a certificate for localhost that signs itself; skips without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")

    def make(name):
        key, made = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", made],
            check=True, capture_output=True,
        )  # fmt: skip
        return key, made

    return make
