"""A Ray cluster: one that runs already, or one of this machine that lives as long as this process needs it."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

from bnexp.errors import BnexpError, UsageError
from bnexp.executors.local import cores
from bnexp.stopping import whole

ADDRESS = "RAY_ADDRESS"
ANSWER_SECONDS = 10.0
"""In which the head of a running cluster must answer."""

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""A frame of HTTP/2, in which Ray speaks: length (3 bytes), kind (1), flags (1), stream (4). It is the first of either
side."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray reports to nobody, and says nothing in the terminal."""

PASSED_ON = ("BNEXP_CONVOLUTION", "MKL_CBWR")
"""Variables of the environment that decide how numbers are computed: workers must have ours."""


class Cluster:
    """The cluster that this process is connected to, and the kind of device that it trains on there."""

    def __init__(self, device: str, workers: int | None) -> None:
        """Connect. Raises BnexpError where no cluster answers, or it has no such device."""
        self._address, self.device = os.environ.get(ADDRESS, ""), device
        if self._address == "local":
            self._address = ""
        os.environ.update(QUIET)
        self._silence = ExitStack()
        """Ray prints what befalls a node, which we say in a sentence; a run prints nothing else there."""
        try:
            with _our_signals(), whole():  # what was begun by half ends the process with SIGSEGV
                self._connect(workers, device)
            if device == "auto":
                self.device = "cuda" if self._total("GPU") else "cpu"
            if not self.room():
                kind = UsageError if device == "cuda" else BnexpError
                raise kind(f"--device {device}: {self._named} has no {self._resource}")
        except (ConnectionError, RuntimeError, ValueError, OSError, exceptions.RayError) as error:
            self.leave()
            why = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
            raise BnexpError(f"{self._named} cannot be used ({why})") from error
        except BaseException:
            self.leave()
            raise

    @property
    def _named(self) -> str:
        return f"the Ray cluster at {ADDRESS}={self._address}" if self._address else "the Ray cluster of this machine"

    @property
    def _resource(self) -> str:
        return "GPU" if self.device == "cuda" else "CPU"

    def _connect(self, workers: int | None, device: str) -> None:
        silence = self._silence
        nowhere = silence.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115 (it is closed with `silence`)
        silence.enter_context(redirect_stdout(nowhere))
        given: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if not self._address:
            gpus = 0 if device == "cpu" else None
            ray.init("local", num_cpus=workers or cores(), num_gpus=gpus, include_dashboard=False, **given)
            return
        _ask(self._address)
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        ray.init(self._address, runtime_env={"env_vars": passed} if passed else None, **given)

    def task(self, function: Callable[..., Iterator[Any]]) -> Any:
        """A generator as a task for one device, whose `remote` gives a stream. Ray tries none again: that is ours. A
        process that had a GPU ends with its task, as it would keep that GPU's memory, and be given another one next."""
        needs: dict[str, Any] = (
            {"num_gpus": 1, "num_cpus": 0, "max_calls": 1} if self.device == "cuda" else {"num_cpus": 1}
        )
        return ray.remote(num_returns="streaming", max_retries=0, **needs)(function)

    def room(self) -> int:
        """How many tasks it can have at once, whoever has some now. Raises BnexpError where it has gone."""
        return self._total(self._resource)

    def free(self) -> int:
        """How many more tasks would begin at once. Raises BnexpError where it has gone."""
        return self._count(ray.available_resources, self._resource)

    def _total(self, resource: str) -> int:
        return self._count(ray.cluster_resources, resource)

    def _count(self, resources: Callable[[], dict[str, float]], resource: str) -> int:
        try:
            return int(resources().get(resource, 0))
        except (exceptions.RayError, RuntimeError, ConnectionError) as error:
            raise BnexpError(f"{self._named} does not answer any more ({str(error).splitlines()[0]})") from error

    def has(self, node: str) -> bool:
        """Whether the node of this number is there."""
        return any(found["NodeID"] == node and found["Alive"] for found in ray.nodes())

    def leave(self) -> None:
        """Go, and end the cluster if it is ours. Tasks of this process end."""
        with self._silence, _our_signals():
            ray.shutdown()


def _ask(address: str) -> None:
    """Raise OSError where nobody at the address speaks as a cluster's head does, for whom Ray itself would wait for
    minutes; UsageError for an address of another kind."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise UsageError(f"{ADDRESS}={address}: not an address of a cluster's head, such as 10.0.0.1:6379, or auto")
    with socket.create_connection((host, int(port)), ANSWER_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            connection.sendall(GREETING)
            if connection.recv(len(SETTINGS))[3:4] != SETTINGS[3:4]:
                raise ConnectionError("it is no Ray cluster that answers")


@contextmanager
def _our_signals() -> Iterator[None]:
    """Ray has its own idea of what is done on SIGTERM; ours stands."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGTERM, ours)
