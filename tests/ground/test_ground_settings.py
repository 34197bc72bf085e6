"""settings.ini: one reader; what is unknown, secret or missing is named."""
import pytest

from model_ops.errors import SettingsError
from model_ops.settings import ENVIRONMENTS, KEYS, Settings, find_root, trusted_names


@pytest.fixture
def book(tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MLFLOW_TRACKING_URI", "MODEL_OPS_ENVIRONMENT"):
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
    settings = Settings.load(book)
    found = getattr(settings, attribute) if attribute else settings.section(section)[key]
    assert (found if attribute == "trusted" else str(found)) == read


def test_a_section_has_its_keys_with_paths_from_the_root(book):
    s = Settings.load(book)
    assert list(s.section("log")) == [key for section, key in KEYS if section == "log"] and s.section("log")["folder"] == str(book / "predictions")
    assert s.section("serve")["package"] == "" == s.section("serve")["token"] and s.section("ledger") == {"url": s.ledger_url}


def test_an_environment_lies_over_the_rest(book, monkeypatch):
    (book / "settings.ini").write_text("[workbook]\nname = demo\n[serve.production]\nhost = 10.0.0.1\n[serve]\nhost = 127.0.0.2\nport = 9000\n[ledger.production]\nurl = sqlite:///there.db\n[workbook.test]\nname = trial\n")
    told = {name: Settings.load(book, name) for name in (None, *ENVIRONMENTS)}
    assert [told[n].environment for n in told] == ["development", *ENVIRONMENTS]
    assert [told[n].section("serve")["host"] for n in ENVIRONMENTS] == ["127.0.0.2", "127.0.0.2", "10.0.0.1"] and told["production"].section("serve")["port"] == "9000"
    assert told["production"].ledger_url == f"sqlite:///{book}/there.db" and told[None].ledger_url.endswith("/ledger.db") and told["test"].name == "trial"
    monkeypatch.setenv("MODEL_OPS_ENVIRONMENT", "production")
    assert Settings.load(book) == told["production"] and Settings.load(book, "test") == told["test"]
    monkeypatch.setenv("MODEL_OPS_SERVE_HOST", "127.0.0.9")
    assert Settings.load(book).section("serve")["host"] == "127.0.0.9"
    monkeypatch.setenv("MODEL_OPS_ENVIRONMENT", "prod")
    with pytest.raises(SettingsError, match="development, test, production"):
        Settings.load(book)


def test_a_secret_is_asked_for_when_it_is_needed_and_never_shown(book, monkeypatch):
    (book / "settings.ini").write_text("[workbook]\n[serve]\ntoken = env:DEMO_TOKEN\n")
    monkeypatch.delenv("DEMO_TOKEN", raising=False)
    s = Settings.load(book)
    with pytest.raises(SettingsError, match="export DEMO_TOKEN"):
        s.section("serve")
    monkeypatch.setenv("DEMO_TOKEN", "hunter2")
    assert s.section("serve")["token"] == "hunter2" and "hunter2" not in repr(s) and "hunter2" not in str(s.__dict__)


def test_mlflows_own_variable_is_heard(book, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert Settings.load(book).tracking_uri == "http://127.0.0.1:5000"


@pytest.mark.parametrize("text, said", [
    ("[workbook]\nnaem = x", "workbook.name"), ("[workbok]\n[workbook]\n[trackin]\nuri = x", "tracking.uri"), ("[workbook]\n[ledger]\nurl = postgresql://me:secret@host/db", "password"),
    ("[workbook]\n[package]\ntrusted = book, os", "'os'"), ("[workbook]\n[package]\ntrusted = ../book", "'../book'"), ("[workbook]\n[package]\ntrusted = book.features", "without dots"),
    ("[workbook]\n[ledger]\nurl = env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE"), ("[workbook]\nname = a\nname = b", "already exists"),
    ("[workbook]\n[serve]\ntoken = secret", "env:NAME"), ("[workbook]\n[serve.production]\nadmin_token = secret", "serve.production.admin_token"),
    ("[workbook]\n[serve.prod]\nport = 80", "no environment 'prod'"), ("[workbook]\n[serve.production]\nprot = 80", "'serve.port'")])
def test_what_is_wrong_is_named_and_no_secret_is_shown(book, text, said):
    (book / "settings.ini").write_text(text)
    with pytest.raises(SettingsError) as e:
        Settings.load(book)
    assert said in str(e.value) and "secret" not in str(e.value).replace("A secret is", "")


def test_trust_is_nobodys_by_default_and_the_environment_gives_it_outside_too(book, monkeypatch):
    assert Settings.load(book).trusted == () == trusted_names()
    monkeypatch.setenv("MODEL_OPS_PACKAGE_TRUSTED", "book")
    assert Settings.load(book).trusted == ("book",) == trusted_names()
