"""A training run as an indexed Job."""

from __future__ import annotations

from components.k8s.training_job import BAD_SETTING, RENDEZVOUS_PORT, digest_of
from components.settings.items import TrainingSettings
from tests.recorder import Registered
from tests.unit.k8s.host import IMAGES, RUN, main_of, named, option, template_of, whole_region

LONG = "a-name-of-forty-characters-is-allowed-12"


def job() -> Registered:
    return named(whole_region(), ":Job", "train-coder")


def test_a_run_is_an_indexed_job_with_a_pod_for_each_worker() -> None:
    spec = job().inputs["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)


def test_workers_meet_at_the_first_pod_by_a_headless_service() -> None:
    recording = whole_region()
    made = named(recording, ":Job", "train-coder")
    name = made.inputs["metadata"]["name"]
    service = named(recording, ":Service", "train-coder").inputs
    assert service["metadata"]["name"] == template_of(made)["subdomain"] == name
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    endpoint = option(main_of(made)["command"], "--rdzv-endpoint")
    assert endpoint == f"{name}-0.{name}:{RENDEZVOUS_PORT}"


def test_a_worker_runs_a_process_on_each_accelerator_of_its_node() -> None:
    command = main_of(job())["command"]
    assert (option(command, "--nnodes"), option(command, "--nproc-per-node")) == ("2", "2")
    on_cpu = main_of(named(whole_region(accelerators=0), ":Job", "train-coder"))["command"]
    assert option(on_cpu, "--nproc-per-node") == "1"


def test_a_worker_takes_the_accelerators_of_its_node() -> None:
    resources = main_of(job())["resources"]
    assert resources["limits"]["example.com/chip"] == resources["requests"]["example.com/chip"] == "2"


def test_a_worker_lands_on_its_pool() -> None:
    template = template_of(job())
    assert template["nodeSelector"] == {"pool": "pool", "kubernetes.io/arch": "arm64"}
    (toleration,) = template["tolerations"]
    assert (toleration["key"], toleration["value"], toleration["effect"]) == (
        "accelerator",
        "present",
        "NoSchedule",
    )


def test_up_does_not_wait_for_a_run() -> None:
    assert job().inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_a_node_that_is_taken_away_is_no_failure_and_a_bad_setting_is_one_at_once() -> None:
    ignore, fail = job().inputs["spec"]["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert fail["action"] == "FailJob" and fail["onExitCodes"]["values"] == [BAD_SETTING]
    assert fail["onExitCodes"]["containerName"] == main_of(job())["name"]


def test_the_run_writes_where_it_says() -> None:
    recording = whole_region()
    command = main_of(named(recording, ":Job", "train-coder"))["command"]
    run = recording.returned["run"]
    assert (
        option(command, "--output") == run["uri"] == f"memory://here-warm/training/coder/{run['digest'][:12]}"
    )
    assert (option(command, "--steps"), option(command, "--seed")) == ("10", "3")
    assert run["record"] == {"steps": 10, "seed": 3, "workers": 2}


def test_another_setting_or_image_is_another_digest() -> None:
    changes = ({"workers": 4}, {"steps": 11}, {"seed": 4})
    digests = [digest_of(TrainingSettings(**{**RUN.model_dump(), **change}), "image") for change in changes]
    digests += [digest_of(RUN, "image"), digest_of(RUN, "another image")]
    assert len(set(digests)) == 5


def test_a_renamed_run_has_the_same_result() -> None:
    assert digest_of(TrainingSettings(**{**RUN.model_dump(), "name": LONG}), "image") == digest_of(
        RUN, "image"
    )


def test_the_jobs_name_holds_the_digest_since_a_job_cannot_change() -> None:
    digest = digest_of(RUN, IMAGES["training"])
    assert job().inputs["metadata"]["name"] == f"train-coder-{digest[:12]}"
