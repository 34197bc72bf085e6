"""Manifests that Kubernetes takes, that fit one another, and that give away no right."""
import os
import subprocess
from pathlib import Path
import pytest
import yaml
from serving_book import serving_book
from model_ops.errors import ParameterError
from model_ops.serve import docker, kubernetes
from model_ops.settings import Settings

PEER = Path(__file__).resolve().parents[2] / ".venv-peers/bin/kubernetes-validate"
KINDS = {"account.yaml": "ServiceAccount", "statefulset.yaml": "StatefulSet", "service.yaml": "Service", "pods.yaml": "Service", "autoscaler.yaml": "HorizontalPodAutoscaler", "budget.yaml": "PodDisruptionBudget", "network.yaml": "NetworkPolicy"}


@pytest.fixture
def told(tmp_path, monkeypatch):
    "What a server is told, by the text of its settings."
    for name in [n for n in os.environ if n.startswith("MODEL_OPS_")]: monkeypatch.delenv(name)
    def load(text=""):
        (tmp_path / "settings.ini").write_text(f"[workbook]\nname = parcels\n[registry]\nmodel = Late Parcels\n{text}")
        return docker.told(Settings.load(tmp_path))
    return load


@pytest.fixture(scope="module")
def package(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("made"), versions=1).root / "made/1"


def made(config, image="late-parcels:7", **more): return kubernetes.objects("late-parcels", config, image, **more)


@pytest.mark.skipif(not PEER.exists(), reason="no .venv-peers: run scripts/peers")
@pytest.mark.parametrize("text", ["", "[serve]\ngrpc_port = 0\nworkers = 4\n"], ids=["as-it-is", "without-grpc"])
@pytest.mark.slow
def test_the_schemas_of_kubernetes_take_them(told, tmp_path, text):
    for file, manifest in made(told(text)).items(): (tmp_path / file).write_text(yaml.safe_dump(manifest))
    files = sorted(tmp_path.glob("*.yaml"))
    done = subprocess.run([PEER, "--strict", "-k", "1.33", *files], capture_output=True, text=True)
    assert done.returncode == 0 and len(files) == len(KINDS), done.stdout + done.stderr
    (tmp_path / "statefulset.yaml").write_text((tmp_path / "statefulset.yaml").read_text().replace("minReadySeconds", "minReadySecond"))
    assert subprocess.run([PEER, "--strict", "-k", "1.33", tmp_path / "statefulset.yaml"], capture_output=True).returncode  # it would have said so


def test_every_object_is_there_and_names_fit(told):
    objects = made(told())
    assert {file: o["kind"] for file, o in objects.items()} == KINDS
    server, pods = objects["statefulset.yaml"]["spec"], {"app.kubernetes.io/name": "late-parcels"}
    assert server["selector"]["matchLabels"] == server["template"]["metadata"]["labels"] == pods and server["serviceName"] == objects["pods.yaml"]["metadata"]["name"]
    assert objects["service.yaml"]["spec"]["selector"] == objects["budget.yaml"]["spec"]["selector"]["matchLabels"] == objects["network.yaml"]["spec"]["podSelector"]["matchLabels"] == pods
    assert objects["autoscaler.yaml"]["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "late-parcels"} and "replicas" not in server
    assert server["template"]["spec"]["serviceAccountName"] == objects["account.yaml"]["metadata"]["name"]
    (container,) = server["template"]["spec"]["containers"]
    volumes = {v["name"] for v in [*server["template"]["spec"]["volumes"], *(c["metadata"] for c in server["volumeClaimTemplates"])]}
    assert {m["name"] for m in container["volumeMounts"]} == volumes and docker.STATE in {m["mountPath"] for m in container["volumeMounts"]}
    named = {p["name"] for p in container["ports"]}
    assert all(p["targetPort"] in named for f in ("service.yaml", "pods.yaml") for p in objects[f]["spec"]["ports"]) and all(container[f"{p}Probe"]["httpGet"]["port"] in named for p in ("startup", "readiness", "liveness"))


@pytest.mark.parametrize("port, grpc", [(8080, 8081), (9000, 0)])
def test_ports_are_those_of_the_settings(told, port, grpc):
    objects = made(told(f"[serve]\nport = {port}\ngrpc_port = {grpc}\n"))
    (container,) = objects["statefulset.yaml"]["spec"]["template"]["spec"]["containers"]
    wanted = [p for p in (port, grpc) if p]
    assert [p["containerPort"] for p in container["ports"]] == wanted == [p["port"] for p in objects["service.yaml"]["spec"]["ports"]] and len(objects["network.yaml"]["spec"]["ingress"][0]["ports"]) == len(wanted)


@pytest.mark.parametrize("drain", [1, 20, 120])
def test_a_pod_is_given_the_time_that_it_takes(told, drain):
    pod = made(told(f"[serve]\ndrain_s = {drain}\n"))["statefulset.yaml"]["spec"]["template"]["spec"]
    (waits,) = [int(word) for word in pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] if word.isdigit()]
    assert pod["terminationGracePeriodSeconds"] > waits + drain + docker.SETTLES


def test_no_right_that_is_not_needed(told):
    objects = made(told())
    pod = objects["statefulset.yaml"]["spec"]["template"]["spec"]
    container, about = pod["containers"][0]["securityContext"], pod["securityContext"]
    assert container == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert about["runAsNonRoot"] and about["runAsUser"] == about["fsGroup"] == docker.USER and about["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is objects["account.yaml"]["automountServiceAccountToken"] is False and objects["network.yaml"]["spec"]["egress"] == []
    assert [e["valueFrom"]["secretKeyRef"]["key"] for e in pod["containers"][0]["env"]] == ["token"] and "Secret" not in KINDS.values()
    assert "cpu" not in pod["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("image", ["late-parcels", "registry.example:5000/late-parcels", "late-parcels:latest"])
def test_an_image_that_may_change_is_refused(told, image):
    with pytest.raises(ParameterError, match="another one tomorrow"): made(told(), image)


@pytest.mark.parametrize("image", ["a:1", "registry.example:5000/a:1", "a@sha256:" + "0" * 64])
def test_images_that_stay(told, image): assert made(told(), image)["statefulset.yaml"]["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_as_many_pods_as_make_sense(told):
    scaler = made(told(), replicas=3, most=9)["autoscaler.yaml"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    for low, high in ((0, 2), (4, 3)):
        with pytest.raises(ParameterError, match=f"{low} to {high} pods"): made(told(), replicas=low, most=high)


def test_the_folder_goes_with_the_image(told, package, tmp_path):
    config = told()
    settings = Settings.load(tmp_path)
    files = kubernetes.files(settings, config, package, storage="20Gi")
    assert {f: yaml.safe_load(t)["kind"] for f, t in files.items() if f.endswith(".yaml")} == KINDS and set(files) - set(KINDS) == {"README.md"}
    image = docker.image(settings, docker.files(settings, config, package))
    assert image in files["statefulset.yaml"] and image in files["README.md"] and "20Gi" in files["statefulset.yaml"] and "power cut" in files["README.md"] and "per pod" in files["README.md"]
