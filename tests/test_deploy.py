"""Tests what deploy/ holds, manifests, scripts and image, without a cluster."""

import configparser
import copy
import datetime
import ipaddress
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

import tff_pipeline
from tests.testing.scripts import ROOT, start_script

DEPLOY = ROOT / "deploy"
CLUSTER = "raycluster.yaml"
JOB = "rayjob.yaml"
POLICY = "networkpolicy.yaml"
VOLUMES = "volumes.yaml"
# The oldest release whose schemas the validator has; it has all that is used.
KUBERNETES = "1.25"
TLS = (
    *("RAY_USE_TLS", "RAY_TLS_SERVER_CERT"),
    *("RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"),
)


def load(name):
    """The documents of a manifest."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def object_of(properties, required=None, **more):
    """A JSON schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties) if required is None else required,
        "additionalProperties": False,
        **more,
    }


# KubeRay's ray.io/v1, as far as it is used here; a pod has Kubernetes' schema.
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}
META = object_of(
    {"name": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,46}$"}}
)
PARAMS = {
    "type": "object",
    # KubeRay takes strings alone.
    "additionalProperties": TEXT,
}
POD = object_of(
    {"metadata": {"type": "object"}, "spec": {"type": "object"}},
)
SPEC = object_of(
    {
        "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "authOptions": object_of({"mode": {"const": "token"}}),
        "headGroupSpec": object_of({"rayStartParams": PARAMS, "template": POD}),
        "workerGroupSpecs": {
            "type": "array",
            "minItems": 1,
            "items": object_of(
                {
                    "groupName": TEXT,
                    "replicas": COUNT,
                    "minReplicas": COUNT,
                    "maxReplicas": COUNT,
                    "rayStartParams": PARAMS,
                    "template": POD,
                }
            ),
        },
    }
)
SCHEMAS = {
    CLUSTER: object_of(
        {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"const": "RayCluster"},
            "metadata": META,
            "spec": SPEC,
        }
    ),
    JOB: object_of(
        {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"const": "RayJob"},
            "metadata": META,
            "spec": object_of(
                {
                    "submissionMode": {
                        "enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]
                    },
                    "entrypoint": TEXT,
                    "backoffLimit": COUNT,
                    "shutdownAfterJobFinishes": {"const": True},
                    "ttlSecondsAfterFinished": COUNT,
                    "rayClusterSpec": SPEC,
                }
            ),
        }
    ),
}


@pytest.fixture(scope="module")
def cluster():
    (document,) = load(CLUSTER)
    return document["spec"]


@pytest.fixture(scope="module")
def groups(cluster):
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(groups):
    return [group["template"]["spec"] for group in groups]


def containers(pod):
    return [*pod["initContainers"], *pod["containers"]]


def variables(container):
    return {item["name"]: item for item in container.get("env", ())}


def ray_of_setup():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extra = setup["options.extras_require"]["ray"]
    return re.search(r'ray==(\S+) ; python_version >= "3.10"', extra)[1]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_what_kuberay_reads_has_its_fields(name):
    jsonschema = pytest.importorskip("jsonschema")
    (document,) = load(name)
    jsonschema.validate(document, SCHEMAS[name])
    document["spec"]["rayVersoin"] = "2.52.1"
    with pytest.raises(jsonschema.ValidationError, match="rayVersoin"):
        jsonschema.validate(document, SCHEMAS[name])


def core_objects(groups):
    """Collects what Kubernetes itself reads, pods of the cluster among it."""
    for name in (POLICY, VOLUMES):
        yield from load(name)
    for group in groups:
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            **group["template"],
            "metadata": {"name": "pod", **group["template"]["metadata"]},
        }


def test_what_kubernetes_reads_fits_its_schemas(groups):
    validator = pytest.importorskip("kubernetes_validate")
    objects = list(core_objects(groups))
    kinds = [document["kind"] for document in objects]
    assert kinds == [
        "NetworkPolicy",
        *["PersistentVolumeClaim"] * 2,
        *["Pod"] * 2,
    ]
    for document in copy.deepcopy(objects):
        validator.validate(document, KUBERNETES, strict=True)
        document["spec"]["mistyped"] = 1
        with pytest.raises(validator.ValidationError, match="mistyped"):
            validator.validate(document, KUBERNETES, strict=True)


def test_a_job_has_the_cluster_of_the_other_manifest(cluster):
    assert load(JOB)[0]["spec"]["rayClusterSpec"] == cluster


def test_versions_are_those_of_the_package(cluster, groups):
    assert cluster["rayVersion"] == ray_of_setup()
    image = f"tff-pipeline-worker:{tff_pipeline.__version__}"
    images = {c["image"] for pod in pods(groups) for c in containers(pod)}
    assert images == {image}
    assert f"--target worker -t {image} ." in (ROOT / "Dockerfile").read_text()


def test_the_image_adds_to_the_lock_what_a_dashboard_needs():
    def pins(path):
        return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", path.read_text()))

    lock, more = (
        pins(ROOT / "requirements.txt"),
        pins(DEPLOY / "requirements.txt"),
    )
    # The same releases where both have one, and the dashboard's server besides.
    both = sorted({*lock} & {*more})
    assert len(both) > 10
    assert {n: more[n] for n in both} == {n: lock[n] for n in both}
    assert more["ray"] == ray_of_setup()
    asked = (DEPLOY / "requirements.in").read_text().splitlines()[-1]
    assert asked == f"ray[default]=={ray_of_setup()}"
    assert "aiohttp" in more
    text = (DEPLOY / "requirements.txt").read_text()
    assert text.count("==") < text.count("--hash=sha256:")


def test_head_and_workers_have_the_same_tls_and_the_token(cluster, groups):
    head, worker = (variables(pod["containers"][0]) for pod in pods(groups))
    assert {name: head[name] for name in TLS} == {n: worker[n] for n in TLS}
    assert head["RAY_USE_TLS"]["value"] == "1"
    # KubeRay puts it into all of them; none is written down here.
    assert cluster["authOptions"] == {"mode": "token"}
    assert not re.search("RAY_AUTH", (DEPLOY / CLUSTER).read_text())
    for pod in pods(groups):
        for name in TLS[1:]:
            path = variables(pod["containers"][0])[name]["value"]
            assert os.path.dirname(path) == "/tls"
            assert os.path.basename(path) in ("host.crt", "host.key", "ca.crt")


def test_the_key_of_the_ca_is_in_no_container_of_ray(groups):
    for pod in pods(groups):
        for container in pod["containers"]:
            assert "ca" not in {m["name"] for m in container["volumeMounts"]}
        (first,) = pod["initContainers"]
        assert {m["name"] for m in first["volumeMounts"]} == {"ca", "tls"}
        assert shlex.split(first["command"][-1])[:3] == [
            *("host-certificate", "/ca", "/tls")
        ]


def test_volumes_that_are_mounted_exist(groups):
    claims = {claim["metadata"]["name"] for claim in load(VOLUMES)}
    for pod in pods(groups):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounted = {
            m["name"] for c in containers(pod) for m in c["volumeMounts"]
        }
        assert mounted == {*volumes}
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims
        # Only a claim that many nodes can mount is read by workers.
    (worker,) = pods(groups)[1:]
    modes = {
        c["metadata"]["name"]: c["spec"]["accessModes"] for c in load(VOLUMES)
    }
    for volume in worker["volumes"]:
        if "persistentVolumeClaim" in volume:
            name = volume["persistentVolumeClaim"]["claimName"]
            assert modes[name] == ["ReadWriteMany"]


def test_pods_have_no_more_rights_than_they_need(groups):
    for pod in pods(groups):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in containers(pod):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            # What is asked for is there, and no more is taken.
            limits = container["resources"]["limits"]
            assert {*limits} == {"cpu", "memory"}


def ports_of(params):
    """The ports that options of ray start name."""
    numbers = {name: int(n) for name, n in params.items() if "port" in name}
    workers = range(
        numbers.pop("min-worker-port"), numbers.pop("max-worker-port") + 1
    )
    assert not {*numbers.values()} & {*workers}
    assert len({*numbers.values()}) == len(numbers)
    return {*numbers.values(), *workers}


def opened(rule):
    """The ports that a rule of a policy opens."""
    return {
        port
        for item in rule["ports"]
        for port in range(item["port"], item.get("endPort", item["port"]) + 1)
    }


def test_the_policy_opens_the_ports_of_ray_between_its_pods_alone(groups):
    (policy,) = load(POLICY)
    spec = policy["spec"]
    named = set()
    for group in groups:
        labels = group["template"]["metadata"]["labels"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()
        named |= ports_of(group["rayStartParams"])
        for container in group["template"]["spec"]["containers"]:
            probes = [
                container[probe]["tcpSocket"]["port"]
                for probe in ("readinessProbe", "livenessProbe")
            ]
            listed = [p["containerPort"] for p in container.get("ports", ())]
            assert {*probes, *listed} <= named
    inside, operator = spec["ingress"]
    assert opened(inside) == named
    assert opened(spec["egress"][0]) == named
    assert inside["from"] == [{"podSelector": spec["podSelector"]}]
    assert spec["egress"][0]["to"] == inside["from"]
    assert opened(operator) == {
        int(groups[0]["rayStartParams"]["dashboard-port"])
    }
    assert opened(spec["egress"][1]) == {53}
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def ray_options(command):
    """The options that a subcommand of `ray` has."""
    scripts = pytest.importorskip("ray.scripts.scripts")
    return {
        option
        for parameter in scripts.cli.commands[command].params
        for option in parameter.opts
    }


@pytest.fixture(scope="module")
def start_options():
    return ray_options("start")


def test_ray_start_has_the_options_of_the_manifests(groups, start_options):
    for group in groups:
        for name in group["rayStartParams"]:
            assert f"--{name}" in start_options


def test_ray_has_the_commands_and_options_of_the_scripts(start_options):
    text = (DEPLOY / "slurm_node.sh").read_text().replace("\\\n", " ")
    calls = re.findall(r"\bray (start|health-check)( .*)", text)
    assert [name for name, _ in calls] == ["start", "start", "health-check"]
    options = {
        "start": start_options,
        "health-check": ray_options("health-check"),
    }
    for name, rest in calls:
        assert {*re.findall(r"--[\w-]+", rest)} <= options[name]


def check_command(words, tmp_path):
    """Lets the package itself read a command's flags; returns its answer.

    A flag that is unknown is told before one whose value is not allowed, so the
    last one here is reached only if the command has no mistake.
    """
    flagfile = tmp_path / "own.flags"
    flagfile.write_text("--task=digits_2nn\n")
    words = [
        f"--flagfile={flagfile}" if w.startswith("--flagfile=") else w
        for w in words
    ]
    assert words[:3] == ["supervise", "--", "train"]
    done = start_script("train.py", *words[3:], "--clients_per_round=0")
    assert done.returncode == 2
    return done.stderr


def test_the_command_of_the_job_has_flags_that_exist(tmp_path, cluster):
    (job,) = load(JOB)
    command, *words = shlex.split(job["spec"]["entrypoint"])
    assert command == "tff-pipeline"
    stderr = check_command(words, tmp_path)
    assert "--clients_per_round=0" in stderr
    flags = dict(w[2:].split("=", 1) for w in words[3:])
    port = cluster["headGroupSpec"]["rayStartParams"]["port"]
    assert flags["ray_address"] == f"$POD_IP:{port}"
    (group,) = cluster["workerGroupSpecs"]
    resources = group["template"]["spec"]["containers"][0]["resources"]
    # A worker of the package for each processor of a worker pod.
    assert int(flags["ray_workers"]) == group["replicas"] * int(
        resources["limits"]["cpu"]
    )
    mounts = cluster["headGroupSpec"]["template"]["spec"]["containers"][0][
        "volumeMounts"
    ]
    folders = {mount["mountPath"] for mount in mounts}
    for flag in ("flagfile", "output_dir", "data_dir"):
        assert "/" + flags[flag].split("/")[1] in folders


SCRIPTS = sorted([*DEPLOY.glob("*.sh"), *DEPLOY.glob("*.sbatch")])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_ones_that_a_shell_can_read(path):
    done = subprocess.run(
        ["bash", "-n", path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def installed(name):
    """A program of this environment or of PATH, or a skip."""
    path = shutil.which(name, path=os.path.dirname(sys.executable))
    return path or shutil.which(name) or pytest.skip(f"{name} is not installed")


def test_the_linter_of_shells_has_nothing_to_say():
    done = subprocess.run(
        [installed("shellcheck"), *SCRIPTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_of_dockerfiles_has_nothing_to_say():
    done = subprocess.run(
        [installed("hadolint"), "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_copies_what_is_there_and_not_ignored():
    dockerfile = (ROOT / "Dockerfile").read_text()
    taken = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copies = re.findall(r"(?m)^COPY (.*)$", dockerfile)
    assert len(copies) >= 5
    for line in copies:
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert source.split("/")[0] in taken
    # Without --target it is still the one whose entrypoint is the command.
    stages = re.findall(r"(?m)^FROM (\S+)(?: AS (\w+))?$", dockerfile)
    assert stages[1:] == [("package", "worker"), ("package", "")]
    assert dockerfile.rstrip().endswith('CMD ["--help"]')
    # A numeric user is one that runAsNonRoot can check.
    assert re.findall(r"(?m)^USER (.*)$", dockerfile) == ["1000", "0", "1000"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    installed("openssl")
    folder = tmp_path_factory.mktemp("ca")
    (line,) = re.findall(
        r"(?m)^openssl req -x509(?:.*\\\n)*.*$",
        (DEPLOY / "slurm.sbatch").read_text(),
    )
    subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "CLUSTER_SECRETS": str(folder)},
        check=True,
    )
    return folder


def test_a_host_has_a_certificate_for_all_its_addresses(authority, tmp_path):
    x509 = pytest.importorskip("cryptography.x509")
    installed("hostname")
    done = subprocess.run(
        ["sh", DEPLOY / "host_certificate.sh", authority, tmp_path, "head.svc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # The request and its extensions are gone.
    assert {path.name for path in tmp_path.iterdir()} == {
        *("ca.crt", "host.crt", "host.key")
    }
    assert (tmp_path / "host.key").stat().st_mode & 0o777 == 0o600
    certificate, ca = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes())
        for name in ("host.crt", "ca.crt")
    )
    certificate.verify_directly_issued_by(ca)
    assert ca == x509.load_pem_x509_certificate(
        (authority / "ca.crt").read_bytes()
    )
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert "head.svc" in names.get_values_for_type(x509.DNSName)
    addresses = subprocess.run(
        ["hostname", "-I"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {*map(ipaddress.ip_address, ["127.0.0.1", *addresses])} == {
        *names.get_values_for_type(x509.IPAddress)
    }
    constraints = certificate.extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert constraints.value.ca is False
    left = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert left == datetime.timedelta(days=90)


def test_a_host_without_a_ca_gets_none(tmp_path):
    installed("openssl")
    done = subprocess.run(
        ["sh", DEPLOY / "host_certificate.sh", tmp_path / "none", tmp_path],
        capture_output=True,
        check=False,
    )
    assert done.returncode
    assert not (tmp_path / "host.crt").exists()
    done = subprocess.run(
        ["sh", DEPLOY / "host_certificate.sh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "takes the CA's folder" in done.stderr


TRAIN = """#!/bin/sh
printf '%s\\n' "$@" >"$SLURM_SUBMIT_DIR/words"
exit 7
"""
SRUN = """#!/bin/sh
mkdir "$CLUSTER_SECRETS/0" && touch "$CLUSTER_SECRETS/0/ready"
exec sleep 60
"""


def test_a_slurm_job_ends_as_the_training_does(tmp_path):
    """srun and tff-pipeline are stand-ins that write down how they are called;
    tests/test_deploy_nodes.py runs real ones."""
    installed("openssl")
    installed("hostname")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("tff-pipeline", TRAIN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    done = subprocess.run(
        [
            *("bash", DEPLOY / "slurm.sbatch"),
            *("--flagfile=own.flags", "--output_dir=runs/own 1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "123456",
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_NUM_NODES": "3",
            "SLURM_CPUS_PER_TASK": "8",
        },
    )
    assert done.returncode == 7, done.stderr
    words = (tmp_path / "words").read_text().splitlines()
    assert "--output_dir=runs/own 1" in words
    assert "--ray_workers=21" in words
    (address,) = [w for w in words if w.startswith("--ray_address=")]
    assert address.endswith(":23456")
    assert "--clients_per_round=0" in check_command(words, tmp_path)
    # Neither the CA's key nor the token outlives the job.
    assert not list(tmp_path.glob(".tff-pipeline-*"))


def documented():
    """The commands of docs/cluster.md, one a line."""
    text = (ROOT / "docs/cluster.md").read_text()
    return [shlex.split(line) for line in re.findall(r"(?m)^    (\S.*)$", text)]


def test_the_guide_shows_only_what_exists(tmp_path, start_options):
    programs = set()
    for program, *words in documented():
        programs.add(program)
        if program == "ray":
            assert words[0] == "start"
            options = {word.split("=")[0] for word in words[1:]}
            assert options <= start_options
        elif program == "tff-pipeline":
            if words[0] == "train":
                words = ["supervise", "--", *words]
            assert "--clients_per_round=0" in check_command(words, tmp_path)
        elif program == "docker":
            assert (
                f"docker {shlex.join(words)}"
                in (ROOT / "Dockerfile").read_text()
            )
        elif program in ("kubectl", "sbatch"):
            for word in words:
                if word.startswith("deploy/"):
                    assert (ROOT / word).exists()
    assert programs == {
        *("tff-pipeline", "ray", "docker", "openssl", "kubectl", "sbatch")
    }


def test_the_secret_of_the_guide_is_the_one_that_pods_mount(groups, tmp_path):
    installed("openssl")
    commands = documented()
    (make,) = [words for words in commands if words[0] == "openssl"]
    subprocess.run(make, cwd=tmp_path, capture_output=True, check=True)
    (create,) = [
        w for w in commands if w[:3] == ["kubectl", "create", "secret"]
    ]
    made = {path.name for path in tmp_path.iterdir()}
    assert {w for w in create if w.startswith("--")} == {
        f"--from-file={name}" for name in made
    }
    for pod in pods(groups):
        (name,) = [
            v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v
        ]
        assert name == create[4]


def test_what_the_guide_says_to_be_refused_is(tmp_path):
    for flag, *others in (
        ("--aggregator=he_mean",),
        (
            *("--secure_aggregation=bonawitz", "--aggregator=secure_mean"),
            "--client_weighting=uniform",
        ),
        ("--client_threads=2",),
    ):
        done = start_script(
            *("train.py", "--task=digits_2nn", "--runtime=ray", flag, *others),
            f"--output_dir={tmp_path / 'run'}",
        )
        assert done.returncode == 2
        assert flag.split("=")[0] in done.stderr
        assert "ray" in done.stderr
