"""docker-compose.yml and the images that it builds. (Docker does not run in the tests.)"""

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest

from support.dockerfiles import Stage, dockerfiles, stage, stages
from support.manifests import PROFILES, ROOT, Manifest, build_of, compose_file, services_of

SERVICES: Manifest = compose_file()["services"]
ONE_SHOTS = {"mysql-init", "mongo-init", "topics"}
# A registry, a name and a version of three numbers.
PINNED = re.compile(r"(docker\.io|quay\.io)/[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")

IMAGE = stages(ROOT / "services/Dockerfile")[-1]

every_service = pytest.mark.parametrize("name", SERVICES)
every_component = pytest.mark.parametrize("built", stages(ROOT / "infra/Dockerfile"), ids=lambda each: each.name)


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def test_parser_finds_every_stage() -> None:
    assert [each.name for each in stages(ROOT / "services/Dockerfile")] == ["build", ""]
    assert stage("mysql").copied["/etc/mysql/conf.d/tandem.cnf"] == "infra/mysql/tandem.cnf"


@every_service
def test_image_is_built_here_or_has_a_registry_and_a_full_version(name: str) -> None:
    service = SERVICES[name]
    if service["image"].startswith("localhost/"):
        # Docker never looks for `localhost/…` in a public registry. Two builds of an image at a time fail.
        assert (ROOT / build_of(compose_file(), name)["dockerfile"]).is_file()
        assert ("build" in service) != (service.get("pull_policy") == "never")
    else:
        assert PINNED.fullmatch(service["image"])


@pytest.mark.parametrize("file", dockerfiles(), ids=lambda file: file.parent.name)
def test_base_images_have_a_registry_and_a_full_version(file: Path) -> None:
    bases = {each.base for each in stages(file)}
    assert bases
    assert [base for base in bases if not PINNED.fullmatch(base)] == []


@every_service
def test_logs_are_limited(name: str) -> None:
    options = SERVICES[name]["logging"]["options"]
    assert options == {"max-size": "10m", "max-file": "3"}


@every_service
def test_memory_is_limited_and_processors_are_not(name: str) -> None:
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"memory"}


@every_service
def test_nothing_of_the_repository_is_mounted_but_certificates(name: str) -> None:
    mounted = [each for each in SERVICES[name].get("volumes", []) if each.startswith((".", "/", "$"))]
    assert mounted in ([], ["${KAFKA_CERTIFICATES:-./infra/kafka/certificates}:/etc/tandem/kafka:ro,z"])


@every_component
def test_copied_files_exist_are_sent_to_docker_and_readable_for_every_user(built: Stage) -> None:
    assert built.copied
    included = [
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for text in built.arguments("COPY"):
        assert re.match(r"--chmod=0(644|755) ", text), text
    for source in built.copied.values():
        assert (ROOT / source).exists()
        assert any(source == each or source.startswith(f"{each}/") for each in included), source


@every_component
def test_component_is_a_service_of_compose(built: Stage) -> None:
    builds = [each["build"] for each in SERVICES.values() if "build" in each]
    targets = {each["target"] for each in builds if each["dockerfile"] == "infra/Dockerfile"}
    assert built.name in targets


@every_service
def test_health_check_starts_no_runtime_and_waits_long_enough(name: str) -> None:
    check = SERVICES[name].get("healthcheck", {})
    if name in ONE_SHOTS or not check:
        return
    command = " ".join(check["test"])
    assert not re.search(r"mongosh|python|java|kafka-|\.sh\b", command)
    # A busy machine may take that long; a container that is up is healthy at its first check, whatever this says.
    assert seconds(check["start_period"]) >= 120
    assert seconds(check["interval"]) * check["retries"] >= 30


def test_health_of_a_service_is_that_it_is_alive() -> None:
    (check,) = stages(ROOT / "services/Dockerfile")[-1].arguments("HEALTHCHECK")
    assert "GET /healthz " in check
    assert "readyz" not in check
    assert "python" not in check
    assert "--start-period=5m" in check


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("auth", {"mysql-init"}),
        ("tweet", {"mongo-init"}),
        ("sync", {"mysql-init", "mongo-init", "topics"}),
        ("registrar", {"mysql-init", "mongo-init"}),
        ("connect", {"topics"}),
    ],
)
def test_programs_wait_for_what_creates_their_accounts_and_topics(name: str, jobs: set[str]) -> None:
    depends = SERVICES[name]["depends_on"].items()
    assert {other for other, how in depends if how["condition"] == "service_completed_successfully"} == jobs


SYNC_ONLY = {"kafka", "topics", "connect", "sync-only-registrar", "sync-only", "sync-only-gateway"}


def test_profile_starts_the_sync_without_accounts_tweets_and_databases() -> None:
    assert services_of("sync-only", compose_file()).keys() == SYNC_ONLY
    # What others need is there, too.
    for profile in PROFILES:
        services = services_of(profile, compose_file())
        assert {other for each in services.values() for other in each.get("depends_on", {})} <= services.keys()


def test_what_runs_by_default_is_named_in_the_environment_file() -> None:
    """And a file of an earlier release is refused, instead of starting Kafka alone."""
    assert "\nCOMPOSE_PROFILES=full\n" in (ROOT / ".env.example").read_text()
    shared = [service for service in SERVICES.values() if "profiles" not in service]
    assert any("${COMPOSE_PROFILES:?" in str(service.get("labels")) for service in shared)
    full = services_of("full", compose_file()).keys()
    assert full == SERVICES.keys() - {"prometheus", "grafana"} - {name for name in SYNC_ONLY if "sync-only" in name}
    # `--profile observability` takes the place of COMPOSE_PROFILES.
    assert full <= services_of("observability", compose_file()).keys()


def test_sync_only_has_the_operator_and_nothing_of_tandem_s_databases() -> None:
    for name in SYNC_ONLY:
        settings = SERVICES[name].get("environment", {})
        used = {each for each in settings.values() if re.search(r"(mysql|mongo|auth|tweet):\d", str(each))}
        # `registrar topics` has the registrar's variables, and connects to Kafka only.
        assert not used or name == "topics", used
    sync = SERVICES["sync-only"]["environment"]
    assert sync["SYNC_OPERATOR_TOKEN"] == "${SYNC_OPERATOR_TOKEN:-}"
    assert "AUTH_JWKS_URL" not in sync
    assert SERVICES["sync-only-gateway"]["environment"]["GATEWAY_SYNC_ONLY"] == "yes"
    assert "GATEWAY_SYNC_ONLY" not in SERVICES["gateway"]["environment"]
    routes = "sync-only-routes:/var/lib/tandem/routes"
    assert routes in SERVICES["sync-only"]["volumes"]
    assert routes in SERVICES["sync-only-registrar"]["volumes"]
    assert SERVICES["sync-only-registrar"]["command"][1:] == ["run", "--seed-routes", "none"]


def test_every_one_shot_is_waited_for() -> None:
    waited: set[str] = set()
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_completed_successfully":
                waited.add(name)
    assert waited == ONE_SHOTS
    assert all("restart" not in SERVICES[name] for name in ONE_SHOTS)


def test_missing_variable_has_one_remedy() -> None:
    found = dict(re.findall(r"\$\{(\w+):\?([^}]*)\}", (ROOT / "docker-compose.yml").read_text()))
    # The only one that an .env of the last release lacks.
    assert found.pop("COMPOSE_PROFILES") == "run make env, or add the line COMPOSE_PROFILES=full to an older .env"
    assert set(found.values()) == {"run make env, or copy .env.example to .env"}


def test_listeners_of_kafka_are_bound_to_every_address() -> None:
    # A controller may not advertise 0.0.0.0.
    assert SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"] == "PLAINTEXT://:9092,CONTROLLER://:9093"


@pytest.mark.parametrize("name", ["kafka", "connect"])
def test_java_programs_log_to_standard_output_only(name: str) -> None:
    built = stage(name)
    (environment,) = built.arguments("ENV")
    (file,) = re.findall(r"KAFKA_OPTS=-Dlog4j2.configurationFile=file:(\S+)", environment)
    settings = (ROOT / built.copied[file]).read_text()
    assert set(re.findall(r"^appender\.\w+\.type = (\w+)$", settings, re.MULTILINE)) == {"Console"}
    assert "org.apache.kafka.connect.runtime.WorkerSourceTask\nlogger.commits.level = warn" in settings


def test_kafka_writes_no_log_of_the_garbage_collector() -> None:
    (environment,) = stage("kafka").arguments("ENV")
    assert 'EXTRA_ARGS="-name kafkaServer"' in environment


@pytest.mark.parametrize(("store", "data"), [("mysql", "/var/lib/mysql"), ("mongo", "/data/db")])
def test_scripts_of_the_first_start_are_part_of_the_image(store: str, data: str) -> None:
    copied = stage(store).copied
    assert SERVICES[store]["entrypoint"] == ["bash", "/etc/tandem/start.sh"]
    assert "/etc/tandem/start.sh" in copied
    hook = (ROOT / copied["/docker-entrypoint-initdb.d/initialized.sh"]).read_text()
    assert f"rm -f {data}/.initializing" in hook
    assert any(each.endswith(f":{data}") for each in SERVICES[store]["volumes"])


def test_clones_have_unix_line_breaks() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()


def test_backup_of_mongodb_names_the_database_of_the_account() -> None:
    dumps: list[Any] = re.findall(r"mongo(?:dump|restore) -u.*", (ROOT / "docs/operations.md").read_text())
    assert dumps
    assert [each for each in dumps if "--authenticationDatabase admin" not in each] == []


def test_certificates_are_not_sent_to_docker() -> None:
    included = [
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert not [each for each in included if fnmatch.fnmatch("infra/kafka/certificates/key.pem", f"{each}*")]


def test_gateway_writes_where_its_user_may() -> None:
    (user,) = stage("gateway").arguments("USER")
    folders = dict(each.split(":") for each in SERVICES["gateway"]["tmpfs"])
    # The same as on Kubernetes.
    assert folders.keys() == {"/etc/nginx/conf.d", "/var/cache/nginx"}
    sizes = [re.fullmatch(rf"uid={user},gid={user},size=(\d+)m", options) for options in folders.values()]
    limit = int(SERVICES["gateway"]["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))
    # They count as memory of the container.
    assert sum(int(size[1]) for size in sizes if size) <= limit - 64
    assert all(sizes)


def test_bodies_that_the_gateway_stores_fit_into_their_folder() -> None:
    template = (ROOT / "infra/gateway/templates/default.conf.template").read_text()
    (bodies,) = re.findall(r"limit_conn all_large_bodies (\d+);", template)
    (size,) = [re.findall(r"size=(\d+)m", each)[0] for each in SERVICES["gateway"]["tmpfs"] if "/cache/" in each]
    # 1 MiB each.
    assert int(bodies) < int(size)


def test_gateway_may_open_the_files_that_its_workers_need() -> None:
    main = (ROOT / "infra/gateway/templates/nginx.conf.template").read_text()
    (files,) = re.findall(r"worker_rlimit_nofile (\d+);", main)
    assert SERVICES["gateway"]["ulimits"]["nofile"] >= int(files)


@every_service
def test_container_that_stays_has_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    if name not in ONE_SHOTS:
        assert service["stop_grace_period"] == ("10s" if name.endswith("gateway") else "30s")


def test_no_password_is_on_a_command_line_that_is_repeated() -> None:
    checks = [str(each["healthcheck"]["test"]) for each in SERVICES.values() if "test" in each.get("healthcheck", {})]
    assert checks
    assert [each for each in checks if "PASSWORD" in each] == []


def test_routes_are_in_a_volume_that_their_readers_share() -> None:
    folder, writers = "/var/lib/tandem/routes", {"topics", "sync"}
    for name in ("topics", "registrar", "sync"):
        assert SERVICES[name]["environment"]["SYNC_ROUTES_FILE"] == f"{folder}/routes.yaml"
        assert f"routes:{folder}{'' if name in writers else ':ro'}" in SERVICES[name]["volumes"]
        # It is the owner of the volume, which is empty at first.
        assert any(f"install -d -o tandem {folder}" in line for line in IMAGE.arguments("RUN"))
        assert IMAGE.arguments("USER") == ["tandem"]
    assert "routes" in compose_file()["volumes"]
    # Both wait for it.
    assert SERVICES["topics"]["command"] == ["registrar", "topics", "--seed-routes"]
    assert "topics" in SERVICES["sync"]["depends_on"]
    assert "topics" in SERVICES["connect"]["depends_on"]
    assert "connect" in SERVICES["registrar"]["depends_on"]


def test_documents_name_one_override_file_and_git_ignores_it() -> None:
    # With two of them Docker would read `compose.override.yml` only.
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"[\w.-]+\.override\.ya?ml", page.read_text())}
    assert named == {"docker-compose.override.yml"}
    assert "/docker-compose.override.yml" in (ROOT / ".gitignore").read_text().splitlines()
