"""The checklist: what is missing is found before the first client comes, with a cure beside it."""
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from serving_book import ServingBook, serving_book

from model_ops.serve.config import Serving
from model_ops.serve.preflight import Checklist, certificate_days, preflight, sync_ms
from model_ops.serve.supervisor import alone, listening
from model_ops.settings import Settings


@pytest.fixture(scope="module")
def made(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("preflight") / "made", versions=1)


@pytest.fixture
def book(made, tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MODEL_OPS_ENVIRONMENT"): monkeypatch.delenv(name, raising=False)
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    return ServingBook(tmp_path / "book", made.digests)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name, days in (("long", 365), ("short", 3), ("other", 365)):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
                        "-days", str(days)], check=True, capture_output=True)
    (folder / "text.pem").write_text("no certificate")
    return folder


def looked(book, **told): return preflight(book.settings, Serving.of(book.settings, **{"port": 0, "grpc_port": 0, **told}))


def line(found: Checklist, name: str): return next(i for i in found.items if i.name == name)


def test_a_workbook_that_can_serve(book):
    found = looked(book)
    assert found.good, found.text()
    assert [i.name for i in found.items] == ["settings", "serve extra", "port", "token", "ledger", "clock", "package", "contract", "libraries", "log", "disk", "cores"] + [i.name for i in found.items][12:]
    assert book.digests[0][:12] in line(found, "package").sentence and "Version 1" in line(found, "ledger").sentence and "4 columns" in line(found, "contract").sentence
    assert sorted(p.name for p in (book.root / "predictions").iterdir()) == ["server.lock"], "it leaves nothing but the lock"


def test_it_is_a_record(book, tmp_path):
    found = looked(book)
    assert Checklist.load(found.save(tmp_path / "checklist.json")) == found and "<b>" not in str(Checklist.of([found.items[0].model_copy(update={"sentence": "<b>"})]).__html__())
    assert found.text().splitlines()[-1] == found.summary and all(i.sentence in found.text() for i in found.items)


@pytest.mark.parametrize("file", ["model.onnx", "contract.json", "manifest.json"])
def test_a_damaged_package_is_named(book, file):
    (book.store.path(book.digests[0]) / file).write_bytes(b"{}")
    found = looked(book)
    assert not found.good and line(found, "package").outcome == "bad" and file in line(found, "package").sentence and line(found, "package").cure


def test_nobody_in_charge_and_no_ledger_at_all(book):
    for path in book.root.glob("ledger.db*"): path.unlink()
    assert line(looked(book), "ledger").outcome == "bad"
    (book.root / "ledger.db").write_bytes(b"no database, certainly" * 100)
    assert line(looked(book), "model").outcome == "bad" and "damaged" in line(looked(book), "model").sentence


def test_a_package_of_ones_own_needs_no_ledger(book):
    for path in book.root.glob("ledger.db*"): path.unlink()
    found = looked(book, package=str(book.store.path(book.digests[0])))
    assert found.good and "ledger" not in [i.name for i in found.items]
    assert line(looked(book, package=str(book.root / "nowhere")), "package").outcome == "bad"


def test_a_clock_behind_the_ledger(book, monkeypatch):
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    monkeypatch.setattr("model_ops.registry.ledger._now", lambda: later)
    book.promote(1)
    found = line(looked(book), "clock")
    assert found.outcome == "bad" and later[:10] in found.sentence


def test_ports_and_a_running_server(book):
    with listening("127.0.0.1", 0) as one, listening("127.0.0.1", 0) as two:
        found = looked(book, port=one.getsockname()[1], grpc_port=two.getsockname()[1])
        assert not found.good and str(one.getsockname()[1]) in line(found, "port").sentence
    with alone(book.root / "predictions"): assert "runs on" in line(looked(book), "log").sentence and not looked(book).good


@pytest.mark.parametrize("cert, key, outcome", [("long", "long", "good"), ("short", "short", "warn"), ("long", "other", "bad"), ("text", "long", "bad"), ("none", "long", "bad")])
def test_certificates_are_tried(book, certificates, cert, key, outcome):
    found = line(looked(book, cert=str(certificates / f"{cert}.pem"), key=str(certificates / f"{key}.key")), "certificate")
    assert found.outcome == outcome and bool(found.cure) == (outcome != "good")


def test_a_certificate_that_has_ended_is_refused(tmp_path):
    cryptography = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    key, name, now = ec.generate_private_key(ec.SECP256R1()), cryptography.Name([cryptography.NameAttribute(cryptography.NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    cert = (cryptography.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7).not_valid_before(now - timedelta(days=9)).not_valid_after(now - timedelta(days=1)).sign(key, hashes.SHA256()))
    (tmp_path / "c.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(OSError, match="expired"): certificate_days(str(tmp_path / "c.pem"), str(tmp_path / "k.pem"))


def test_days_are_counted_and_a_key_that_others_may_read_is_remarked(book, certificates):
    cert, key = str(certificates / "long.pem"), certificates / "long.key"
    assert 364 < certificate_days(cert, str(key)) <= 365
    key.chmod(0o644)
    assert "chmod 600" in line(looked(book, cert=cert, key=str(key)), "key").cure
    key.chmod(0o600)
    assert "key" not in [i.name for i in looked(book, cert=cert, key=str(key)).items]


@pytest.mark.parametrize("told, said", [({"token": "short"}, "fewer than 16"), ({"token": "t" * 20, "admin_token": "t" * 20}, "is the clients' token"), ({"host": "0.0.0.0", "open": True}, "no token"),
                                        ({"host": "0.0.0.0", "open": True, "token": "t" * 20}, "in the clear")], ids=lambda x: x if isinstance(x, str) else "")
def test_weak_tokens_are_remarked_and_never_shown(book, told, said):
    found = looked(book, **told)
    assert line(found, "token").outcome == "warn" and said in line(found, "token").sentence and "tttt" not in found.to_json()


def test_a_log_that_cannot_be_written(book):
    (book.root / "predictions").write_text("a file in the way")
    found = line(looked(book), "log")
    assert found.outcome == "bad" and "FileExistsError" in found.sentence
    assert sync_ms(book.root, 3) > 0 and not list(book.root.glob(".preflight*"))


def test_nothing_logged_and_too_many_workers_are_remarked(book):
    found = looked(book, durability="off", workers=200)
    assert next(i for i in found.items if i.name == "log").outcome == "warn" and line(found, "cores").outcome == "warn"


def test_an_environment_is_named(book):
    settings = Settings.load(book.root, "production")
    assert "environment production" in preflight(settings, Serving.of(settings, port=0, grpc_port=0)).items[0].sentence
