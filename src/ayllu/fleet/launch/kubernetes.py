"""Kubernetes: a JobSet that Kueue admits, one pod for each node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ayllu.fleet.launch import manifests
from ayllu.fleet.launch.batch_job import SLURM_ONLY, BatchJob, Rendezvous, Status, port_of, tool
from ayllu.lab.error import UserError

HINT = "install kubectl and give it a cluster that has JobSet (and Kueue, for a queue)"
MANIFEST = "jobset.yaml"
HOME = "/work"
"""Where the shared volume is mounted in every pod."""


def _container(job: BatchJob) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if job.accelerators_per_node:
        limits["nvidia.com/gpu"] = job.accelerators_per_node
    if job.cpus_per_node:
        limits["cpu"] = job.cpus_per_node
    if job.memory_gib:
        limits["memory"] = f"{job.memory_gib}Gi"
    # Pod 0 of a JobSet has this name in the headless service that the JobSet makes.
    first = f"{job.name}-node-0-0.{job.name}"
    command = job.command(Rendezvous(host=first, port=str(port_of(job.name)), identity=job.name))
    container: dict[str, Any] = {
        "name": "ayllu",
        "image": job.image,
        "command": ["/bin/sh", "-c", f"cd {HOME} && exec {command}"],
        "resources": {"limits": limits, "requests": dict(limits)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "work", "mountPath": HOME}, {"name": "memory", "mountPath": "/dev/shm"}],
    }
    if job.environment:
        container["env"] = [{"name": name, "value": job.environment[name]} for name in sorted(job.environment)]
    if job.nodes > 1:
        container["ports"] = [{"containerPort": port_of(job.name)}]
    return container


def manifest(job: BatchJob) -> dict[str, Any]:
    """The JobSet. A pod that is evicted is made again; after any other end the whole set starts again."""
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(job)],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": "ayllu-work"}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    batch: dict[str, Any] = {
        "parallelism": job.nodes,
        "completions": job.nodes,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        # A preempted or drained pod is not the job's fault, and does not count against it.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {"spec": pod},
    }
    if job.hours:
        batch["activeDeadlineSeconds"] = round(job.hours * 3600)
    labels = {"app.kubernetes.io/managed-by": "ayllu"}
    if job.queue:
        labels["kueue.x-k8s.io/queue-name"] = job.queue
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name, "labels": labels},
        "spec": {
            "failurePolicy": {"maxRestarts": job.restarts},
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": batch}}],
        },
    }


class Kubernetes:
    """Speaks to the cluster of kubectl's current context. The identity is the name of the JobSet."""

    name = "kubernetes"

    def files(self, job: BatchJob) -> dict[str, str]:
        """The manifest, checked against the JobSet schema."""
        job.refuse("Kubernetes", "accelerator", *SLURM_ONLY, "install")
        if not job.image:
            raise UserError("launch: Kubernetes runs containers; name one with --image")
        made = manifest(job)
        wrong = manifests.faults(made, manifests.jobset_schema())
        if wrong:
            raise UserError(f"launch: the manifest does not fit the JobSet schema: {wrong[0]}")
        return {MANIFEST: manifests.dump(made)}

    def submit(self, job: BatchJob) -> str:
        """kubectl create: an existing JobSet of that name is not touched."""
        tool(["kubectl", "create", "--filename", str(job.launch_folder / MANIFEST)], hint=HINT)
        return job.name

    def status(self, identity: str, folder: Path) -> Status:
        """From the conditions of the JobSet."""
        words = ["kubectl", "get", "jobset", identity, "--ignore-not-found", "--output=json"]
        said = tool(words, hint=HINT).stdout
        if not said.strip():
            return Status(state="unknown", detail="there is no such JobSet")
        found = json.loads(said)
        status = found.get("status", {})
        restarts = f"{status.get('restarts', 0)} restarts"
        final = {"Completed": "finished", "Failed": "failed"}.get(status.get("terminalState", ""))
        if final:
            return Status(state=final, detail=restarts)
        waits = found.get("spec", {}).get("suspend", False)
        return Status(state="queued" if waits else "running", detail=restarts)

    def logs(self, identity: str, folder: Path) -> str:
        """What all pods wrote, each line with its pod."""
        selector = f"--selector=jobset.sigs.k8s.io/jobset-name={identity}"
        words = ["kubectl", "logs", selector, "--prefix", "--tail=-1", "--max-log-requests=64"]
        return tool(words, hint=HINT).stdout

    def cancel(self, identity: str, folder: Path) -> None:
        """Delete the JobSet and its pods."""
        tool(["kubectl", "delete", "jobset", identity, "--ignore-not-found", "--wait=false"], hint=HINT)
