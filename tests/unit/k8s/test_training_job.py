"""A training run as an indexed Job."""

from __future__ import annotations

from components.k8s import jobs
from components.k8s.training_job import JOB, RENDEZVOUS_PORT, digest_of
from components.settings.items import TrainingSettings
from tests.recorder import Registered
from tests.unit.k8s.host import (
    RUN,
    PlainHost,
    main_of,
    named,
    option,
    recorded,
    region_over,
    template_of,
    whole_region,
)

LONG = "a-name-of-forty-characters-is-allowed-12"


def job() -> Registered:
    return named(whole_region(), ":Job", "train-coder")


def test_a_run_is_an_indexed_job_with_a_pod_for_each_worker() -> None:
    spec = job().inputs["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)


def test_workers_meet_at_the_first_pod_by_the_name_that_it_knows_itself_by() -> None:
    recording = whole_region()
    template = template_of(named(recording, ":Job", "train-coder"))
    service = named(recording, ":Service", "train-coder").inputs
    assert service["metadata"]["name"] == template["subdomain"] == "train-coder"
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert template["dnsConfig"]["searches"] == ["train-coder.skerry.svc.cluster.local"]
    (main,) = template["containers"]
    assert option(main["command"], "--rdzv-endpoint") == f"$({JOB})-0:{RENDEZVOUS_PORT}"
    (variable,) = [one for one in main["env"] if one["name"] == JOB]
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


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


def test_a_node_that_is_taken_away_is_no_failure() -> None:
    rules = job().inputs["spec"]["podFailurePolicy"]["rules"]
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]} in rules


def test_another_try_is_made_after_a_preemption_and_not_after_a_mistake_in_the_settings() -> None:
    rules = job().inputs["spec"]["podFailurePolicy"]["rules"]
    by_codes = {tuple(rule["onExitCodes"]["values"]): rule for rule in rules if "onExitCodes" in rule}
    assert {codes: rule["action"] for codes, rule in by_codes.items()} == {
        (2,): "FailJob",
        (75, 143): "Ignore",
    }
    assert {rule["onExitCodes"]["containerName"] for rule in by_codes.values()} == {main_of(job())["name"]}


def test_workers_have_nearly_all_of_a_pods_time_for_a_last_checkpoint() -> None:
    grace = template_of(job())["terminationGracePeriodSeconds"]
    assert 0 < grace - int(option(main_of(job())["command"], "--shutdown-timeout")) <= 15


def test_processes_of_a_node_share_memory_that_only_the_node_limits() -> None:
    template = template_of(job())
    volumes = {volume["name"]: volume for volume in template["volumes"]}
    (mount,) = [one for one in main_of(job())["volumeMounts"] if one["mountPath"] == "/dev/shm"]
    assert volumes[mount["name"]]["emptyDir"] == {"medium": "Memory"}
    assert "memory" not in main_of(job())["resources"]["limits"]


def test_the_run_writes_where_it_says() -> None:
    recording = whole_region()
    command = main_of(named(recording, ":Job", "train-coder"))["command"]
    run = recording.returned["run"]
    assert (
        option(command, "--output") == run["uri"] == f"memory://here-warm/training/coder/{run['digest'][:12]}"
    )
    assert (option(command, "--steps"), option(command, "--seed")) == ("10", "3")
    assert run["record"] == {"steps": 10, "seed": 3, "workers": 2}


def test_a_run_keeps_its_checkpoints_beside_its_export_where_it_may_write() -> None:
    recording = whole_region()
    checkpoints = option(main_of(named(recording, ":Job", "train-coder"))["command"], "--checkpoints")
    assert checkpoints == f"{recording.returned['run']['uri']}-checkpoints"
    assert checkpoints.startswith("memory://here-warm/training/coder/")


def test_another_setting_or_image_is_another_digest() -> None:
    changes = ({"workers": 4}, {"steps": 11}, {"seed": 4})
    digests = [digest_of(TrainingSettings(**{**RUN.model_dump(), **change}), "image") for change in changes]
    digests += [digest_of(RUN, "image"), digest_of(RUN, "another image")]
    assert len(set(digests)) == 5


def test_a_renamed_run_has_the_same_result() -> None:
    assert digest_of(TrainingSettings(**{**RUN.model_dump(), "name": LONG}), "image") == digest_of(
        RUN, "image"
    )


def names_of_jobs(**changes: object) -> str:
    """Name of a run's Job with other settings."""

    def program() -> object:
        region = region_over(PlainHost("here"))
        return region.train(RUN.model_copy(update=changes)).uri

    (made,) = recorded(program).of(":Job")
    return made.inputs["metadata"]["name"]


def test_another_run_is_a_job_of_another_name_since_a_job_cannot_change() -> None:
    names = [names_of_jobs(), names_of_jobs(steps=11), names_of_jobs(workers=4), names_of_jobs()]
    assert len(set(names)) == 3 and names[0] == names[3]


def test_whatever_changes_in_a_jobs_pods_is_a_job_of_another_name() -> None:
    def program() -> object:
        return [jobs.job_name("train-coder", {"template": {"grace": grace}}) for grace in (1, 2)]

    names = recorded(program).returned
    assert len(set(names)) == 2 and all(len(name) <= jobs.LONGEST_JOB for name in names)


def test_a_run_may_have_the_longest_name_there_is() -> None:
    name = names_of_jobs(name=LONG)
    assert name.startswith("train-a-name-of") and len(name) <= jobs.LONGEST_JOB
