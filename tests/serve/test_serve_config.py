"""What the server is told: one typed value, refused as a whole where a part makes no sense."""
import pytest

from model_ops.errors import SettingsError
from model_ops.serve.config import Serving
from model_ops.settings import KEYS, Settings

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture
def book(tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MODEL_OPS_ENVIRONMENT"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SERVE_TOKEN", SECRET)

    def write(text: str = "", environment: str | None = None) -> Settings:
        (tmp_path / "settings.ini").write_text(f"[workbook]\nname = demo\n{text}")
        return Settings.load(tmp_path, environment)
    return write


def test_every_key_of_both_sections_is_a_field_with_its_default_and_meaning(book):
    keys = {key: (default, meaning) for (section, key), (_, default, meaning) in KEYS.items() if section in ("serve", "log")}
    assert set(keys) == set(Serving.model_fields)
    assert all(field.default == keys[name][0] and field.description == keys[name][1] for name, field in Serving.model_fields.items())
    config = Serving.of(book())
    assert (config.host, config.port, config.grpc_port, config.workers, config.durability, config.max_rows, config.live, config.open) == ("127.0.0.1", 8080, 8081, 1, "sync", 10_000, True, False)
    assert config.folder == book().root / "predictions" and config.loopback and config.scheme == "http"


def test_settings_then_environment_then_the_command_line(book, monkeypatch):
    settings = book("[serve]\nport = 9000\nworkers = 3\n[serve.test]\nport = 9100\n", "test")
    assert Serving.of(settings).port == 9100 and Serving.of(settings).workers == 3
    monkeypatch.setenv("MODEL_OPS_SERVE_PORT", "9200")
    assert Serving.of(settings).port == 9200 and Serving.of(settings, port=0, workers=None).port == 0


@pytest.mark.parametrize("key, value", [("port", "-1"), ("port", "http"), ("workers", "0"), ("max_rows", "0"), ("follow_s", "0"), ("timeout_s", "soon"), ("access", "some"), ("live", "maybe"),
                                        ("durability", "fsync"), ("on_full", "wait"), ("dedupe_days", "0"), ("compact_hours", "-1"), ("max_body_mb", "-16"), ("flush_ms", "nan"), ("segment_mb", "inf")])
def test_a_bad_value_names_key_section_and_what_is_meant(book, key, value):
    section = next(s for s, k in KEYS if k == key)
    with pytest.raises(SettingsError) as e: Serving.of(book(f"[{section}]\n{key} = {value}\n"))
    assert e.value.key == key and f"{section}.{key} is '{value}'" in str(e.value) and KEYS[section, key][2] in str(e.value) and f"MODEL_OPS_{section}_{key}".upper() in str(e.value)


def test_an_unknown_option_is_refused_with_the_nearest(book):
    with pytest.raises(SettingsError, match="Did you mean 'port'"): Serving.of(book(), prot=80)


@pytest.mark.parametrize("told, good", [
    ({"host": "0.0.0.0"}, False), ({"host": "::"}, False), ({"host": "10.1.2.3", "token": SECRET}, False), ({"host": "demo.example.org", "cert": "c.pem", "key": "k.pem"}, False),
    ({"host": "0.0.0.0", "token": SECRET, "cert": "c.pem", "key": "k.pem"}, True), ({"host": "0.0.0.0", "open": True}, True),
    ({"host": "127.0.0.1"}, True), ({"host": "::1"}, True), ({"host": "localhost"}, True), ({"host": "127.1.2.3"}, True)], ids=str)
def test_beyond_this_machine_only_with_token_and_tls(book, told, good):
    if good: assert Serving.of(book(), **told).host == told["host"]
    else:
        with pytest.raises(SettingsError, match="open = yes") as e: Serving.of(book(), **told)
        assert e.value.key == "host" and SECRET not in str(e.value)


@pytest.mark.parametrize("told, key", [({"cert": "c.pem"}, "key"), ({"key": "k.pem"}, "cert"), ({"package": "p", "pyfunc": "models:/m/1"}, "pyfunc"), ({"port": 9, "grpc_port": 9}, "grpc_port"),
                                       ({"token": "two words"}, "token"), ({"admin_token": "schlüssel"}, "admin_token"), ({"token": "line\nbreak"}, "token")], ids=str)
def test_what_does_not_go_together_is_refused(book, told, key):
    with pytest.raises(SettingsError) as e: Serving.of(book(), **told)
    assert e.value.key == key and not any(str(v) in str(e.value) for k, v in told.items() if "token" in k)


def test_no_secret_is_ever_shown_and_all_goes_through_the_pipe(book):
    config = Serving.of(book("[serve]\ntoken = env:SERVE_TOKEN\nadmin_token = env:SERVE_TOKEN\n"))
    assert config.token.get_secret_value() == SECRET and not any(SECRET in text for text in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())))
    assert Serving(**config.revealed()) == config and config.revealed()["token"] == SECRET
    with pytest.raises(ValueError, match="frozen"): config.port = 1
