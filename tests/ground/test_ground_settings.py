"""settings.ini: one reader; what is unknown, secret or missing is named."""
import pytest

from model_ops.errors import SettingsError
from model_ops.settings import KEYS, Settings, find_root, trusted_names


@pytest.fixture
def book(tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "settings.ini").write_text("[workbook]\nname = demo\n")
    return tmp_path


def test_defaults_are_rooted(book):
    s = Settings.load(book)
    assert (s.name, s.experiment, s.model) == ("demo", "demo", "demo")
    assert s.tracking_uri == f"sqlite:///{book}/mlflow.db" and s.store == book / "store" and s.artifacts == str(book / "mlartifacts")


def test_the_root_is_found_upwards_and_nbdev_settings_are_not_mistaken(book, monkeypatch):
    deep = book / "nbs" / "steps"
    deep.mkdir(parents=True)
    (book / "nbs" / "settings.ini").write_text("[DEFAULT]\nlib_name = x\n")
    monkeypatch.chdir(deep)
    assert find_root() == book
    monkeypatch.chdir("/")
    with pytest.raises(SettingsError, match="not inside a workbook"):
        find_root()


@pytest.mark.parametrize("section, key", KEYS)
def test_the_environment_wins_for_every_key(book, monkeypatch, section, key):
    attribute = KEYS[section, key][0]
    value, read = ("book, tools", ("book", "tools")) if attribute == "trusted" else ("/elsewhere", "/elsewhere")
    monkeypatch.setenv(f"MODEL_OPS_{section}_{key}".upper(), value)
    found = getattr(Settings.load(book), attribute)
    assert (found if attribute == "trusted" else str(found)) == read


def test_mlflows_own_variable_is_heard(book, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert Settings.load(book).tracking_uri == "http://127.0.0.1:5000"


@pytest.mark.parametrize("text, said", [
    ("[workbook]\nnaem = x", "workbook.name"), ("[workbok]\n[workbook]\n[trackin]\nuri = x", "tracking.uri"), ("[workbook]\n[ledger]\nurl = postgresql://me:secret@host/db", "password"),
    ("[workbook]\n[package]\ntrusted = book, os", "'os'"), ("[workbook]\n[package]\ntrusted = ../book", "'../book'"), ("[workbook]\n[package]\ntrusted = book.features", "without dots"),
    ("[workbook]\n[ledger]\nurl = env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE"), ("[workbook]\nname = a\nname = b", "already exists")])
def test_what_is_wrong_is_named_and_no_secret_is_shown(book, text, said):
    (book / "settings.ini").write_text(text)
    with pytest.raises(SettingsError) as e:
        Settings.load(book)
    assert said in str(e.value) and "secret" not in str(e.value).replace("A secret is", "")


def test_trust_is_nobodys_by_default_and_the_environment_gives_it_outside_too(book, monkeypatch):
    assert Settings.load(book).trusted == () == trusted_names()
    monkeypatch.setenv("MODEL_OPS_PACKAGE_TRUSTED", "book")
    assert Settings.load(book).trusted == ("book",) == trusted_names()
