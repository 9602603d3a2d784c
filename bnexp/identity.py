"""What makes a trial the same trial, and which trials may train together: hashes of configurations, as the marks of
their fields say."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from bnexp import registry
from bnexp.config import TrialConfig, leaves
from bnexp.marks import MISSING


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: Any) -> str:
    return hashlib.sha256(_text(content).encode()).hexdigest()


def _revisions(config: TrialConfig) -> dict[str, int]:
    raised = {name: number for name, number in registry.REVISIONS.items() if number != 1}
    used = {leaf.value for leaf in leaves(config) if isinstance(leaf.value, str)} if raised else set()
    return {name: number for name, number in raised.items() if name in used}


def trial_key(config: TrialConfig, fingerprint: str) -> str:
    """The trial's identity: SHA-256 (64 hexadecimal digits) of its effective configuration, the dataset's
    `fingerprint` and the raised revisions of its components."""
    return _digest(_identity(config, fingerprint))


def _identity(config: TrialConfig, fingerprint: str) -> dict[str, Any]:
    """What the trial key is the hash of."""
    identity = {
        leaf.name: leaf.value
        for leaf in leaves(config)
        if leaf.mark.kind != "recorded" and (leaf.mark.origin is MISSING or leaf.value != leaf.mark.origin)
    }
    return {"config": identity, "data": fingerprint, "revisions": _revisions(config)}


def trial_keys(config: TrialConfig, fingerprint: str, seeds: Iterable[int]) -> Iterator[str]:
    """The keys of trials that differ from `config` in their seed only: what `trial_key` says of each, many times as
    fast."""
    # The text that is hashed has the seed in it once; what stands before is hashed once for all.
    identity = _identity(config, fingerprint)
    identity["config"]["seed"] = "the seed"
    before, after = _text(identity).split('"the seed"')
    begun = hashlib.sha256(before.encode())
    for seed in seeds:
        whole = begun.copy()
        whole.update(f"{seed}{after}".encode())
        yield whole.hexdigest()


def cell_key(config: TrialConfig, fingerprint: str) -> int:
    """What trials share that differ in nothing but their seed: 63 bits of SHA-256 of all else, recorded fields too."""
    shared = {
        leaf.name: leaf.value for leaf in leaves(config) if leaf.name != "seed" and leaf.value != leaf.mark.origin
    }
    return int(_digest({"config": shared, "data": fingerprint, "revisions": _revisions(config)})[:16], 16) >> 1


def cohort_key(config: TrialConfig, fingerprint: str) -> str:
    """What trials must share to train together: SHA-256 of all but the per-trial fields."""
    shared = {leaf.name: leaf.value for leaf in leaves(config) if leaf.mark.kind != "per_trial"}
    return _digest({"config": shared, "data": fingerprint, "revisions": _revisions(config)})
