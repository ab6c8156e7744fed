"""Calls of a function in worker processes that Ray starts and watches."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sparsefeat.cluster.workers import Finished, Workers
from sparsefeat.errors import ClusterError, InputError, SparsefeatError
from sparsefeat.system import describe_exception, importing

A = TypeVar("A")
R = TypeVar("R")

AUTO: Final = "auto"
MAX_THREADS: Final = 8  # of a worker by default: several workers scale better than more threads
_INSTALL: Final = "pip install 'sparsefeat[ray]'"
# Ray reads these variables when it is imported. Without them, it sends usage statistics to its
# makers, and prints the logs of workers to standard output.
_SETTINGS: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_log = logging.getLogger(__name__)


class RayWorkers(Workers[A, R]):
    """Runs calls of one function in processes that Ray starts on the machines of a cluster.

    Exceptions of calls that are not a `SparsefeatError` are raised as a `ClusterError`, as when the
    cluster refuses a call.

    Parameters
    ----------
    function
        Its argument and its result must be picklable. Workers import it by its name, so its package
        must be installed wherever it runs.
    address
        ``auto`` finds the cluster that this machine belongs to; HOST:PORT is a cluster's head.
    threads
        CPUs of one call. By default as many as the smallest machine has, but at most 8.
    gpu
        Whether each call gets a GPU.

    Raises
    ------
    ClusterError
        There is no such cluster, or it can't be joined.
    MissingDependencyError
        Ray isn't installed.
    """

    def __init__(
        self,
        function: Callable[[A], R],
        address: str,
        *,
        threads: int | None = None,
        gpu: bool = False,
    ) -> None:
        super().__init__()
        _check_address(address)
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        with importing("ray", _INSTALL, purpose="clusters are reached with it"):
            import ray
        self._ray: Any = ray
        self._gpu = gpu
        self._joined = not ray.is_initialized()
        if self._joined:
            _join(ray, address)
        try:
            self.threads = threads or self._usual_threads()
            self._check_room()
        except BaseException:
            self.close()
            raise
        options = {"max_retries": 0, "max_calls": 0, "scheduling_strategy": "SPREAD"}
        options |= {"num_cpus": self.threads, "num_gpus": int(gpu)}
        self._remote = self._ray.remote(**options)(function)

    @property
    def capacity(self) -> int:
        """Calls that can run at the same time on the current machines, at least 1."""
        return max(1, sum(self._fitting(node) for node in self._nodes()))

    def submit(self, argument: A) -> None:
        """Start a call as soon as there is a worker for it."""
        with self._answering():
            self._running[self._remote.remote(argument)] = argument

    def _wait(self, seconds: float) -> Iterable[Any]:
        refs = list(self._running)
        with self._answering():
            ready, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
            if ready:  # return all others that have ended, too
                ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return list(ready)

    def close(self) -> None:
        """End all calls; disconnect from Ray, or stop it, if this object connected to it."""
        with suppress(Exception):  # the cluster may be lost
            for ref in self._running:
                self._ray.cancel(ref, force=True)
        self._running.clear()
        if self._joined:
            self._ray.shutdown()

    def _end(self, call: Any, argument: A) -> Finished[A, R]:
        exceptions = self._ray.exceptions
        try:
            return Finished(argument=argument, result=self._ray.get(call))
        except exceptions.OutOfMemoryError:
            death, blameless = "its machine ran out of memory", True
        except (exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
            death, blameless = "its machine was lost", True
        except exceptions.WorkerCrashedError:
            death, blameless = "its process died", False
        except exceptions.RayTaskError as exc:
            cause, where = exc.cause, f"on the worker at {exc.ip}"
            if isinstance(cause, SparsefeatError):
                raise type(cause)(f"{cause} ({where})") from exc
            said = describe_exception(cause) if isinstance(cause, Exception) else str(exc)
            raise ClusterError(
                f"{where}, work failed: {said}: see that the machines have the same version of "
                "sparsefeat and its dependencies"
            ) from exc
        except exceptions.RayError as exc:
            raise ClusterError(f"the cluster refused the work: {describe_exception(exc)}") from exc
        return Finished(argument=argument, death=death, blameless=blameless)

    def _nodes(self) -> list[dict[str, float]]:
        with self._answering():
            return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Translate what Ray raises when its head is lost."""
        try:
            yield
        except (self._ray.exceptions.RayError, OSError, RuntimeError) as exc:
            raise ClusterError(
                f"the Ray cluster does not answer any more ({describe_exception(exc)}): run the "
                "same command again when it does; committed parts are safe"
            ) from exc

    def _usual_threads(self) -> int:
        cpus = (int(node.get("CPU", 0)) for node in self._nodes())
        return min([MAX_THREADS, *(count for count in cpus if count)])

    def _fitting(self, node: dict[str, float]) -> int:
        fitting = int(node.get("CPU", 0) // self.threads)
        return min(fitting, int(node.get("GPU", 0))) if self._gpu else fitting

    def _check_room(self) -> None:
        if not any(map(self._fitting, self._nodes())):
            wanted = f"{self.threads} CPUs" + " and a GPU" * self._gpu
            _log.warning("no machine of the cluster has %s: waiting for one that does", wanted)


def _check_address(address: str) -> None:
    if address.startswith("ray://"):
        raise InputError(
            f"got the address {address}, which is Ray Client's, expected local, auto or "
            "HOST:PORT: run the command on the cluster, as with ray job submit"
        )
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"got the cluster {address!r:.60}, expected local, auto or HOST:PORT")
    # Ray itself tries for minutes.
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError, ValueError) as exc:
        raise ClusterError(
            f"there is no Ray cluster at {address} ({exc}): check the address, which ray start "
            "--head prints"
        ) from exc


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except ConnectionError as exc:
        if address != AUTO:
            raise _unjoined(address, exc) from exc
        raise ClusterError(
            "this machine belongs to no running Ray cluster, which --cluster auto (cluster) asks "
            "for: start one with ray start, give the HOST:PORT of another, or use local"
        ) from exc
    except Exception as exc:  # RuntimeError, ValueError, and what gRPC raises
        raise _unjoined(address, exc) from exc


def _unjoined(address: str, exc: Exception) -> ClusterError:
    return ClusterError(
        f"the Ray cluster {address!r} can't be joined ({describe_exception(exc)}): check the "
        "address, and that both sides have the same version of Ray"
    )
