"""config.toml and LENSWATCH_* variables."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from lenswatch.config import (
    AuthConfig,
    Config,
    ServerConfig,
    check_settings,
    load_config,
    setting_names,
)
from lenswatch.errors import ConfigError

ROOT = Path(__file__).parent.parent


def write(tmp_path: Path, text: Any) -> Any:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return file


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(environ={})
    assert config.detector.window_size == 12
    assert config.transform.resize == (216, 384)
    assert config.alarm.drift_distance is None
    assert config.storage_path == tmp_path / "storage"
    assert config.file is None


def test_the_files_of_a_folder_are_relative_to_it(tmp_path: Path) -> None:
    file = write(tmp_path, '[storage]\npath = "data"\n[camera_state]\nfolder = "frames"')
    config = load_config(file, {})
    assert config.image_folder == tmp_path / "data" / "frames"
    assert config.file == file


def test_the_variable_names_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[detector]\nwindow_size = 5")
    assert load_config(environ={"LENSWATCH_CONFIG": str(file)}).detector.window_size == 5


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml.*--config"):
        load_config(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[detector]\nwindow_sise = 12",
            "detector.window_sise: unknown key; did you mean detector.window_size?",
        ),
        ("[detecter]\nx = 1", "detecter: unknown key; did you mean detector?"),
        (
            "[server.auth]\nmodee = 'x'",
            "server.auth.modee: unknown key; did you mean server.auth.mode?",
        ),
        (
            "[detector]\nwindow_size = 'many'",
            "detector.window_size = 'many': must be a whole number",
        ),
        ("[detector]\nwindow_size = true", "detector.window_size = True: must be a whole number"),
        (
            "[detector]\nwindow_size = 1",
            "detector.window_size = 1: must be a whole number, 2 or more",
        ),
        ("[detector]\nsigma = 'mean'", "detector.sigma = 'mean': must be \"median\" or a number"),
        ("[detector]\nsigma = -1", "detector.sigma = -1: must be"),
        (
            "[transform]\nresize = [216]",
            "transform.resize = [216]: must be a list of 2, each",
        ),
        ("[transform]\nstd = [0, 1, 1]", "transform.std"),
        ("[transform]\nsample_bits = 11", "must be 0 or 10 or 12 or 14 or 16"),
        ("[encoder]\nlearning_rate = nan", "encoder.learning_rate = nan: must be a number"),
        ("detector = 3", "detector = 3: must be a table"),
        (
            "[camera]\ncollect = '3'",
            "camera.collect = '3': must be empty or a number and a unit, such as \"90 minutes\"",
        ),
        ("[camera]\ncollect = '0 days'", "camera.collect = '0 days'"),
        ("[camera]\ncollect = '0 days'", "the number is from 0.001 to 9999.999"),
        ("[camera]\ncollect = '99999999 weeks'", "the number is from 0.001 to 9999.999"),
        ("[camera]\ncollect = 3", "camera.collect = 3"),
        (
            "[camera_state]\nclean = 'a.jpg'",
            "camera_state.clean = 'a.jpg': must be a list, each a string",
        ),
        (
            "[tracking]\nauth = 'password'",
            'tracking.auth = \'password\': must be "none" or "mytoken"',
        ),
        (
            "[alarm]\nwarning_distance = 0.2\ndrift_distance = 0.1",
            "alarm.warning_distance = 0.2 is above",
        ),
        ("[alarm]\nwarning_distance = 0.2", "alarm.drift_distance"),
        ("not toml", "not valid TOML"),
        (f"[server]\nmax_body_bytes = {'9' * 5000}", "not valid TOML"),
        ("x = " + "[" * 3000 + "]" * 3000, "not valid TOML"),
        (f"[encoder]\nlearning_rate = {'9' * 400}", "must be a number"),
        ("server = 3", "server = 3: must be a table"),
        ("[server]\nhost = ''", "server.host = '': must be an IP address"),
        ("[server]\nhost = 'a b'", "server.host"),
        ('[server]\nhost = "a\\u0000b"', "server.host"),
        ("[server]\nport = 0", "server.port = 0: must be a port, 1 to 65535"),
        ("[server]\nport = 65536", "server.port = 65536: must be a port"),
        ("[server]\nworkers = 1000000", "server.workers = 1000000: must be 1 to 256"),
        ("[server]\nroot_path = 'lens'", "server.root_path = 'lens': must be empty or a path"),
        ("[server]\nroot_path = '/ü'", "server.root_path"),
        ("[server]\nroot_path = '/a?b'", "server.root_path"),
        ("[server]\nroot_path = '//'", "server.root_path"),
        ("[server]\ncors_origins = ['lens.example']", "server.cors_origins"),
        ("[server]\ncors_origins = ['https://lens.example/']", "without a path"),
        ("[transform]\nmean = [0, nan, 0]", "transform.mean = [0, nan, 0]: must be a list of 3"),
        ("[alarm]\ndrift_distance = inf", "alarm.drift_distance = inf: must be a number"),
        ("[tracking]\ntimeout = inf", "tracking.timeout = inf: must be a number greater than 0"),
        ("[encoder]\nepochs = 3.0", "encoder.epochs = 3.0: must be a whole number"),
        ("[storage]\nkeep_images = 1", "storage.keep_images = 1: must be true or false"),
        ("root = 'x'", "root: unknown key"),
        ('[server]\nhost = "reef\\n"', "server.host"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_value(tmp_path: Path, text: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(write(tmp_path, text), {})
    assert says in str(refusal.value)


def test_what_can_be_used_is_taken(tmp_path: Path) -> None:
    text = """
    [server]
    host = "fe80::1%eth0"
    root_path = "/a/b-c_d.e~f/"
    cors_origins = ["https://lens.example", "http://127.0.0.1:5001", "http://[::1]:80", "*"]
    """
    config = load_config(write(tmp_path, text), {})
    check_settings(config.server, "server")
    check_settings(ServerConfig(), "server")
    assert config.server.root_path == "/a/b-c_d.e~f/"


def test_settings_from_elsewhere_are_held_to_the_same() -> None:
    with pytest.raises(ConfigError, match=r"^server\.port = 99999: must be a port, 1 to 65535$"):
        check_settings(ServerConfig(port=99999), "server")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    file = write(tmp_path, "")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: Permission denied"):
        load_config(file, {})


@pytest.mark.parametrize("text", ["server = 3", "[server]\nauth = 3"])
def test_a_variable_does_not_hide_that_its_table_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="must be a table"):
        load_config(write(tmp_path, text), {"LENSWATCH_SERVER_AUTH_MODE": "keys"})


def test_variables_override_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[alarm]\nexpected_run_time = 50")
    config = load_config(
        file,
        {
            "LENSWATCH_ALARM_EXPECTED_RUN_TIME": "500",
            "LENSWATCH_DETECTOR_SIGMA": "0.3",
            "LENSWATCH_DETECTOR_WARM_START": "false",
            "LENSWATCH_TRANSFORM_RESIZE": "120, 160",
            "LENSWATCH_TRACKING_TAGS": "reef, cam1",
            "LENSWATCH_SERVER_AUTH_MODE": "keys",
            "LENSWATCH_TRACKING_EXPERIMENT": "42",
        },
    )
    assert config.alarm.expected_run_time == 500
    assert config.detector.sigma == 0.3
    assert config.detector.warm_start is False
    assert config.transform.resize == (120, 160)
    assert config.tracking.tags == ("reef", "cam1")
    assert config.server.auth.mode == "keys"
    assert config.tracking.experiment == "42"


def test_every_key_of_server_auth_has_its_variable(tmp_path: Path) -> None:
    variables = {
        "MODE": "oidc",
        "ISSUERS": "https://login.example/realms/a, https://b.example",
        "AUDIENCE": "lens",
        "ENTITLEMENTS_PATH": "resource_access/lens/roles",
        "USER_ENTITLEMENTS": "user,crew",
        "ADMIN_ENTITLEMENTS": "admin",
        "CLIENT_ID": "web",
        "CLIENT_SECRET": "a, secret",
    }
    environ = {f"LENSWATCH_SERVER_AUTH_{name}": value for name, value in variables.items()}
    assert len(variables) == len(dataclasses.fields(AuthConfig))
    assert load_config(write(tmp_path, ""), environ).server.auth == AuthConfig(
        mode="oidc",
        issuers=("https://login.example/realms/a", "https://b.example"),
        audience="lens",
        entitlements_path="resource_access/lens/roles",
        user_entitlements=("user", "crew"),
        admin_entitlements=("admin",),
        client_id="web",
        client_secret="a, secret",
    )


def test_a_variable_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LENSWATCH_DETECTOR_WINDOW_SIZE = 'a dozen'"):
        load_config(write(tmp_path, ""), {"LENSWATCH_DETECTOR_WINDOW_SIZE": "a dozen"})


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("ENCODER_LEARNING_RATE", "nan", "a number greater than 0"),
        ("ENCODER_EPOCHS", "2.5", "a whole number, 1 or more"),
        ("SERVER_PORT", "0", "a port, 1 to 65535"),
        ("DETECTOR_WARM_START", "maybe", "true or false"),
        ("DETECTOR_SIGMA", "mean", '"median" or a number greater than 0'),
    ],
)
def test_a_variable_has_the_limits_of_its_key(
    tmp_path: Path, variable: str, text: str, wanted: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(write(tmp_path, ""), {f"LENSWATCH_{variable}": text})
    assert str(refusal.value) == f"LENSWATCH_{variable} = {text!r}: must be {wanted}"


def test_a_time_zone_is_one_that_exists(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")).camera.zone is None
    text = '[camera]\ntimezone = "{}"'
    zone = load_config(write(tmp_path, text.format("Europe/Lisbon")), {}).camera.zone
    assert zone is not None
    assert zone.key == "Europe/Lisbon"
    for name in ("Europe/Lissabon", "Europe", "../etc", "/etc/localtime", "Zürich", "+02:00"):
        with pytest.raises(ConfigError, match=r"^camera\.timezone = .*: no such time zone"):
            load_config(write(tmp_path, text.format(name)), {})
    with pytest.raises(ConfigError, match="did you mean 'Europe/Berlin'"):
        load_config(write(tmp_path, text.format("Europe/berlin ")), {})


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = """
    [tracking]
    token = "5e33"
    [server]
    database = "postgresql://lens:5e33@db/lens"
    [server.auth]
    client_secret = "5e33"
    """
    assert "5e33" not in repr(load_config(write(tmp_path, text), {}))
    with pytest.raises(ConfigError, match=r"^tracking\.token: must be a string$"):
        load_config(write(tmp_path, "[tracking]\ntoken = 533"), {})


def test_an_unknown_variable_warns_and_names_the_nearest(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="did you mean LENSWATCH_DETECTOR_WINDOW_SIZE"):
        load_config(write(tmp_path, ""), {"LENSWATCH_DETECTOR_WINDOWSIZE": "3"})


def test_the_settings_that_come_with_the_project_are_valid() -> None:
    config = load_config(ROOT / "config.toml", {})
    assert isinstance(config, Config)


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", text, flags=re.M))
    assert documented == set(setting_names())
