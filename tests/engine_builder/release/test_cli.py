"""The commands of central operations, from an empty folder to a release that a box would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner

from appliance.bundles.durable import DurableFiles
from appliance.bundles.source import DirectorySource
from appliance.bundles.trust import ReleaseTrust
from appliance.clock import Clock
from engine_builder.cli import cli
from engine_builder.errors import BuildFailed
from engine_builder.release.cli import PASSPHRASE_VARIABLE, STANDARD_KEYS
from engine_builder.release.keys import EncryptedKeySigner, KeyRing
from tests.simulators.linear import linear_pack, weights


class Desk:
    """Types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "releases"
        self.keys = folder / "keys"

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["release", *words], catch_exceptions=True)

    def well(self, *words: str) -> str:
        result = self.type(*words)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.output

    def refused(self, *words: str) -> str:
        result = self.type(*words)
        assert isinstance(result.exception, BuildFailed), result.output
        return str(result.exception)

    def add(self, version: str, seed: int) -> str:
        pack = linear_pack(self.folder / version, version, weights(seed))
        budgets = ("--latency-ms", "100", "--memory-mib", "50")
        return self.well("add", str(self.repository), str(pack), *budgets)

    def sign(self, *names: str) -> str:
        words = [word for name in names for word in ("--key", name)]
        return self.well("sign", str(self.repository), "--keys", str(self.keys), *words)

    def publish(self) -> tuple[str, ...]:
        return ("publish", str(self.repository), "--keys", str(self.keys))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for name in (*STANDARD_KEYS, "root-4"):
        monkeypatch.setenv(PASSPHRASE_VARIABLE + name.upper().replace("-", "_"), f"passphrase of {name}")
    desk = Desk(tmp_path)
    desk.well("init", str(desk.repository), "--keys", str(desk.keys))
    return desk


def offered(desk: Desk, root: bytes) -> dict[str, int]:
    trust = ReleaseTrust(desk.folder / "trust", root, DurableFiles(), Clock(), 0)
    return {o.facts.version: o.facts.counter for o in trust.refresh(DirectorySource(desk.repository))}


def test_a_release_needs_both_targets_keys(desk: Desk) -> None:
    root = (desk.repository / "metadata" / "1.root.json").read_bytes()
    assert "counter 1" in desk.add("1.0.0", 2)
    assert "needs 2" in desk.sign("targets-1")
    assert "expected 2 valid signatures on the draft of targets and got 1" in desk.refused(*desk.publish())
    assert "complete" in desk.sign("targets-2")
    desk.well(*desk.publish())
    assert offered(desk, root) == {"1.0.0": 1}
    assert "counter 2" in desk.add("1.1.0", 3)
    desk.sign("targets-1", "targets-2")
    desk.well(*desk.publish())
    assert offered(desk, root) == {"1.0.0": 1, "1.1.0": 2}
    assert desk.well("list", str(desk.repository)).count("karyotype") == 2
    desk.well("withdraw", str(desk.repository), "packs/linear-1.0.0.json")
    desk.sign("targets-1", "targets-2")
    desk.well(*desk.publish())
    assert offered(desk, root) == {"1.1.0": 2}


def test_root_keys_rotate(desk: Desk) -> None:
    root = (desk.repository / "metadata" / "1.root.json").read_bytes()
    desk.well("key", "root-4", "--role", "root", "--keys", str(desk.keys))
    desk.well("rotate", str(desk.repository), "--keys", str(desk.keys))
    assert "needs 2" in desk.sign("root-4")
    assert "complete" in desk.sign("root-1", "root-2")
    desk.well(*desk.publish())
    assert (desk.repository / "metadata" / "2.root.json").exists()
    assert offered(desk, root) == {}


def test_private_keys_are_encrypted_and_for_their_owner_alone(desk: Desk) -> None:
    for path in desk.keys.glob("*.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    ring = KeyRing(desk.keys)
    entry = ring.find("root-1")
    with pytest.raises(BuildFailed, match=r"expected the passphrase of root-1\.pem and got another"):
        ring.signer(entry, lambda _name: "wrong")
    signer = ring.signer(entry, lambda name: f"passphrase of {name}")
    assert isinstance(signer, EncryptedKeySigner)
    entry.key.verify_signature(signer.sign(b"data"), b"data")


def test_a_key_elsewhere_is_used_by_its_address(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    private = Ed25519PrivateKey.generate()
    public = desk.folder / "token.pub.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    class Token(CryptoSigner):
        """A hardware token: the address names it, nothing of the key leaves it."""

        @classmethod
        def from_priv_key_uri(
            cls, priv_key_uri: str, public_key: object, secrets_handler: object = None
        ) -> Token:
            assert (priv_key_uri, secrets_handler is not None) == ("token:slot-1", True)
            return cls(private, public_key)  # type: ignore[arg-type]

    monkeypatch.setitem(
        __import__("securesystemslib.signer", fromlist=["x"]).SIGNER_FOR_URI_SCHEME, "token", Token
    )
    ring = KeyRing(desk.keys)
    address = ("--uri", "token:slot-1", "--public", str(public))
    desk.well("key", "targets-3", "--role", "targets", *address, "--keys", str(desk.keys))
    entry = ring.find("targets-3")
    entry.key.verify_signature(ring.signer(entry, lambda _name: "1234").sign(b"data"), b"data")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("init", "REPO", "--keys", "KEYS"), "an empty folder and got a release repository"),
        (("sign", "REPO", "--keys", "KEYS", "--key", "nobody"), "and got nobody"),
        (("sign", "REPO", "--keys", "KEYS", "--key", "targets-1"), "a draft of targets to sign and got none"),
        (("withdraw", "REPO", "packs/x.json"), "and got packs/x.json"),
        (("key", "root-1", "--role", "root", "--keys", "KEYS"), "a new name for a key and got root-1"),
        (("key", "x", "--role", "root", "--uri", "hsm:2", "--keys", "KEYS"), "--uri and --public together"),
    ],
)
def test_what_cannot_be_done_is_said(desk: Desk, words: tuple[str, ...], says: str) -> None:
    places = {"REPO": str(desk.repository), "KEYS": str(desk.keys)}
    assert says in desk.refused(*(places.get(word, word) for word in words))


def test_a_changed_pack_needs_a_new_version(desk: Desk) -> None:
    desk.add("1.0.0", 2)
    pack = linear_pack(desk.folder / "again", "1.0.0", weights(9))
    words = ("add", str(desk.repository), str(pack), "--latency-ms", "1", "--memory-mib", "1")
    assert "a new version for a changed pack" in desk.refused(*words)
