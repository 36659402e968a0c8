"""A real SLURM on one Debian machine: two nodes that are this host, with two pretended GPUs each. Root, no systemd.

    python tests/slurm/cluster.py up | down | reason

All state lies in FOLDER, but for the link /etc/slurm/slurm.conf: the job step plugin of Snakemake takes every SLURM_*
variable away before it calls srun, SLURM_CONF too. All daemons listen on loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/run/tunebook-slurm")
LINK = Path("/etc/slurm/slurm.conf")
PORT = 17600  # the controller; nodes from 17611; srun from 17700
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("node1", "node2")
GPU = "pretended"  # the type of the devices
CGROUPS = ("freezer", "memory", "cpuset", "devices", "cpuacct")
READY_S = 60

# A requeued job starts again when the credential of its first start has expired: cred_expire, 120 s by default.
CONF = """\
ClusterName=tunebook
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SrunPortRange={srun}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/spool/controller
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
KillWait=3
MinJobAge=3600
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
{limits}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=scoring Nodes=ALL MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=9 PreemptMode=OFF
"""
CGROUP_CONF = """\
CgroupAutomount=no
CgroupMountpoint=/sys/fs/cgroup
CgroupPlugin=cgroup/v1
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
"""


def reason_not_to() -> str | None:
    """Why there can be no cluster here, or None."""
    release = Path("/etc/os-release")
    if os.geteuid() != 0:
        return "a test cluster needs root"
    if not release.exists() or "ID=debian" not in release.read_text().splitlines():
        return "a test cluster needs Debian's packages"
    if LINK.exists() and LINK.resolve() != FOLDER / "etc/slurm.conf":
        return f"{LINK} exists: this machine has a SLURM of its own"
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "nothing"
    if not address.startswith("127."):
        return f"the host's name means {address}, not loopback: add it to the 127.0.0.1 line of /etc/hosts"
    return None


def limits_memory() -> bool:
    """Whether jobs can be held to their memory: the version 1 hierarchies of cgroup are there, and writable."""
    mounts = Path("/proc/mounts").read_text()
    return all(f" /sys/fs/cgroup/{name} cgroup rw" in mounts for name in CGROUPS)


def install() -> None:
    """Install the packages that are missing; none of their services may start by itself."""
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    policy, made = Path("/usr/sbin/policy-rc.d"), False
    if not policy.exists():
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        made = True
    try:
        options = ["-o", "DPkg::Lock::Timeout=120"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *options, *PACKAGES]):
            subprocess.run(["apt-get", *command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=600)
    finally:
        if made:
            policy.unlink()


def configure() -> None:
    for name in ("etc", "run", "log", "dev", "spool/controller", *(f"spool/{node}" for node in NODES)):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    host = socket.gethostname().split(".")[0]
    limits = "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup"
    if not limits_memory():
        limits = "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill"
    nodes, devices = [], ["AutoDetect=off"]
    for number, node in enumerate(NODES, start=1):
        address = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={PORT + 10 + number}"
        nodes.append(f"NodeName={node} {address} CPUs=4 RealMemory=12000 Gres=gpu:{GPU}:2")
        devices.append(f"NodeName={node} Name=gpu Type={GPU} File={FOLDER}/dev/gpu[0-1]")
    for number in range(2):
        # A character device, as SLURM demands: it sets CUDA_VISIBLE_DEVICES for nothing else. These are /dev/null's numbers.
        os.mknod(FOLDER / f"dev/gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    values = {"host": host, "port": PORT, "srun": f"{PORT + 100}-{PORT + 399}", "folder": FOLDER, "limits": limits}
    (FOLDER / "etc/slurm.conf").write_text(CONF.format(nodes="\n".join(nodes), **values))
    (FOLDER / "etc/gres.conf").write_text("\n".join(devices) + "\n")
    (FOLDER / "etc/cgroup.conf").write_text(CGROUP_CONF)
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(FOLDER / "etc/slurm.conf")
    key = FOLDER / "etc/munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))


def _start(*command: str) -> None:
    with (FOLDER / "log" / f"{command[0]}.out").open("a") as log:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=READY_S)


def up() -> None:
    """Install, configure and start; returns when both nodes are idle. Raises RuntimeError with the logs' ends."""
    down()
    install()
    configure()
    conf, run = str(FOLDER / "etc/slurm.conf"), FOLDER / "run"
    try:
        options = ["--key-file", f"{FOLDER}/etc/munge.key", "--pid-file", f"{run}/munged.pid", "--force"]
        _start("munged", "--socket", f"{run}/munge.sock", *options,
               "--log-file", f"{FOLDER}/log/munged.log", "--seed-file", f"{run}/munge.seed")  # fmt: skip
        _start("slurmctld", "-c", "-f", conf)
        for node in NODES:
            _start("slurmd", "-N", node, "-f", conf)
        _wait_until_idle()
    except (subprocess.SubprocessError, RuntimeError, OSError) as error:
        logs = "".join(f"\n== {log.name}\n{log.read_text()[-800:]}" for log in sorted((FOLDER / "log").iterdir()))
        down()
        raise RuntimeError(f"no cluster: {error}{logs}") from error


def _wait_until_idle() -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        command = ["sinfo", "-N", "-h", "-p", "main", "-o", "%t"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READY_S)
        if done.stdout.split() == ["idle"] * len(NODES):
            return
        time.sleep(0.3)
    raise RuntimeError(f"nodes are not idle: {done.stdout}{done.stderr}")


def _end(file: Path, wait_s: float = 15) -> None:
    """End the daemon whose id a file holds, if it still is one of ours."""
    try:
        number = int(file.read_text().strip("\0 \n"))
        name = Path(os.readlink(f"/proc/{number}/exe")).name
    except (OSError, ValueError):
        return
    if not name.startswith(file.name.split(".")[0]):
        return
    for number_of_signal in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(number, number_of_signal)
            end = time.monotonic() + wait_s
            while time.monotonic() < end and Path(f"/proc/{number}").exists():
                time.sleep(0.1)
        except ProcessLookupError:
            return


def down() -> None:
    """Cancel the jobs, end the daemons, take the link away. Does nothing where nothing runs."""
    run = FOLDER / "run"
    if (run / "slurmctld.pid").exists():
        subprocess.run(["scancel", "-u", "root"], check=False, capture_output=True, timeout=30)
        end = time.monotonic() + 15
        while time.monotonic() < end and _jobs():
            time.sleep(0.3)
    for file in [*sorted(run.glob("slurmd.*.pid")), run / "slurmctld.pid", run / "munged.pid"]:
        _end(file)
    if LINK.is_symlink() and LINK.readlink() == FOLDER / "etc/slurm.conf":
        LINK.unlink()
    shutil.rmtree(FOLDER, ignore_errors=True)


def _jobs() -> list[str]:
    done = subprocess.run(["squeue", "-h", "-o", "%A"], check=False, capture_output=True, text=True, timeout=30)
    return done.stdout.split()


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) == 2 else ""
    if asked not in ("up", "down", "reason"):
        sys.exit(__doc__)
    if (reason := reason_not_to()) is not None:
        sys.exit(reason)
    if asked != "reason":
        up() if asked == "up" else down()
