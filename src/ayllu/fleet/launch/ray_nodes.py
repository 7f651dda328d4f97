"""What a Ray job runs: the job's command once on every node, torchrun and all, with Ray as the place-maker.

Ray's own command line starts this file on the head node: `python -m ayllu.fleet.launch.ray_nodes --nodes 2 … COMMAND`.
In COMMAND `$AYLLU_FIRST` is the address of the first node, `$AYLLU_PORT` a port that is free there, and
`$AYLLU_START` names this start of this job: nodes of other jobs, which may run beside, never meet them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def _on_node(command: str, meeting: dict[str, str]) -> int:
    import os

    return subprocess.run(["/bin/sh", "-c", command], env={**os.environ, **meeting}).returncode


def _address() -> tuple[str, int]:
    """Where the cluster itself reaches this node (a machine with several networks has other addresses too), and a port
    that is free here."""
    import socket

    import ray

    here = ray.get_runtime_context().get_node_id()
    with socket.socket() as free:
        free.bind(("", 0))
        port = int(free.getsockname()[1])
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == here), port


def main(arguments: list[str] | None = None) -> int:
    """Take a whole node for each process group, run the command on all of them, and return the first failure."""
    parser = argparse.ArgumentParser(prog="python -m ayllu.fleet.launch.ray_nodes", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("command")
    options = parser.parse_args(arguments)

    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init(address="auto")
    bundle = {"CPU": options.cpus, **({"GPU": options.gpus} if options.gpus else {})}
    group = placement_group([bundle] * options.nodes, strategy="STRICT_SPREAD" if options.nodes > 1 else "PACK")
    ray.get(group.ready())

    def place(index: int) -> dict[str, object]:
        return {
            "num_cpus": options.cpus,
            "num_gpus": options.gpus,
            "max_retries": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
        }

    codes: list[int] = []
    for start in range(options.restarts + 1):
        try:
            first, port = ray.get(ray.remote(_address).options(**place(0)).remote())
            named = f"{ray.get_runtime_context().get_job_id()}.{start}"
            meeting = {"AYLLU_FIRST": first, "AYLLU_PORT": str(port), "AYLLU_START": named}
            run = ray.remote(_on_node)
            tasks = [run.options(**place(i)).remote(options.command, meeting) for i in range(options.nodes)]
            codes = ray.get(tasks)
        except ray.exceptions.RayError as error:
            # A lost node ends the tasks on it; the group is placed again on other nodes, and the job goes on.
            sys.stderr.write(f"ayllu launch: {type(error).__name__}; starting again\n")
            codes = [1]
            continue
        # A shell reports a command that a signal has ended with 128 and more; only such ends are tried again.
        if not any(code < 0 or code >= 128 for code in codes):
            break
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
