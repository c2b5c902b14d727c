"""TLS on both sides of the node, with certificates of an authority made for the test."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from appliance.client import ApplianceClient
from appliance.dicom_node.node import DicomNode
from appliance.dicom_node.tls import TlsFiles, calling_context, listening_context
from appliance.errors import ConfigurationError
from tests.dicom_node.conftest import settings
from tests.simulators.archive import Archive
from tests.simulators.dicom_tools import tool
from tests.simulators.scanner import associate


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, node.pem and node.key for localhost, stranger.pem and stranger.key of nobody."""
    folder, openssl = tmp_path_factory.mktemp("pki"), tool("openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    run("req", "-x509", *made, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    run("req", "-x509", *made, "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", "/CN=localhost")
    run("req", *made, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    run("x509", "-req", "-in", "node.csr", *signed, "-out", "node.pem")
    return folder


def files(pki: Path, name: str | None = "node") -> TlsFiles:
    own = (pki / f"{name}.pem", pki / f"{name}.key") if name else (None, None)
    return TlsFiles(*own, pki / "ca.pem")


@pytest.fixture
def config_words(pki: Path) -> dict[str, object]:
    return {f"tls_{key}": str(pki / f) for key, f in (("certificate", "node.pem"), ("key", "node.key"))} | {
        "tls_authorities": str(pki / "ca.pem")
    }


def test_only_callers_with_a_certificate_of_the_authority(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient, pki: Path, config_words: dict[str, object]
) -> None:
    with DicomNode(settings(tmp_path, archive, **config_words), daemon) as node:
        association = associate(node.port, tls=calling_context(files(pki)))
        assert association.send_c_echo().Status == 0x0000
        association.release()
        assert not associate(node.port, tls=calling_context(files(pki, None))).is_established
        assert not associate(node.port, tls=calling_context(files(pki, "stranger"))).is_established
        assert not associate(node.port).is_established


def test_a_caller_that_never_shakes_hands_holds_nobody_up(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient, pki: Path, config_words: dict[str, object]
) -> None:
    config = settings(tmp_path, archive, associate_s=0.5, **config_words)
    with DicomNode(config, daemon) as node, socket.create_connection(("127.0.0.1", node.port)) as silent:
        association = associate(node.port, tls=calling_context(files(pki)))
        assert association.send_c_echo().Status == 0x0000
        association.release()
        silent.settimeout(20)
        assert silent.recv(1) == b"", "hung up on after associate_s"


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for wrong in (TlsFiles(rubbish, rubbish, None), TlsFiles(tmp_path / "none", rubbish, None)):
        with pytest.raises(ConfigurationError, match="certificates or key"):
            listening_context(wrong)
    with pytest.raises(ConfigurationError, match="certificates or key"):
        calling_context(TlsFiles(None, None, rubbish))


def test_nothing_older_than_tls_1_2(pki: Path) -> None:
    context = listening_context(files(pki))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert listening_context(TlsFiles(None, None, None)) is None


def test_a_certificate_without_its_key(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(ConfigurationError, match="together"):
        settings(tmp_path, archive, tls_certificate="node.pem")
