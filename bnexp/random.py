"""Random numbers keyed by what they are for: role, seed, layer and step, never by slot, cohort or call order.

A counter-based generator: each number is a hash of its index under a key, so any of them can be had at any time, on
any device, in any company. The hash is two rounds of multiply and xor-shift on 32-bit words (constants of Mueller's
and Wellons's mixers), with half of the 64-bit key entering before each round. Words live in int32 tensors, whose sums
and products keep the lowest 32 bits; their right shifts copy the sign, which a mask takes away.

Shapes: S seeds, N numbers.
"""

import hashlib
import math

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLY_1 = 0x45D9F3B
MULTIPLY_2 = 0x7FEB352D
STRIDE = 0x1E3779B1
"""Odd, so that counters times it are distinct modulo 2^32, and spread."""


def key(role: str, seed: int, *parts: int | str) -> tuple[int, int]:
    """Two 32-bit words for the numbers of `role` (init, order, dropout, ...) under `seed` and further `parts`."""
    text = "\x1f".join([role, str(seed), *map(str, parts)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def keys(role: str, seeds: list[int], *parts: int | str, device: torch.device | str = "cpu") -> Tensor:
    """The `key` of each seed, int64 [2, S, 1]: ready to broadcast against counters, on `device`, where their numbers
    are made."""
    words = torch.tensor([key(role, seed, *parts) for seed in seeds], dtype=torch.int64)
    return words.T[:, :, None].contiguous().to(device)


def counters(count: int, device: torch.device | str = "cpu") -> Tensor:
    """The indices 0 .. count - 1, spread over 32 bits, int32 [N]."""
    return (torch.arange(count, dtype=torch.int64, device=device) * STRIDE).to(torch.int32)


def words(keys_2SN: Tensor, counters_N: Tensor) -> Tensor:
    """32-bit words as int32, [S, N], each a hash of its key and counter."""
    first, second = keys_2SN.to(torch.int32)
    word = _fold(counters_N + first, 16).mul_(MULTIPLY_1)
    word = _fold(word, 15).add_(second)
    word = _fold(word, 16).mul_(MULTIPLY_2)
    return _fold(word, 15)


def _fold(word: Tensor, bits: int) -> Tensor:
    """word ^ (word >> bits), in place."""
    return word.bitwise_xor_(_shifted(word, bits))


def _shifted(word: Tensor, bits: int) -> Tensor:
    """The word without its lowest bits, as a number from 0."""
    return (word >> bits).bitwise_and_(MASK >> bits)


def _unsigned(word: Tensor) -> Tensor:
    """The word as an int64 from 0."""
    return word.long() & MASK


def uniform(keys_2SN: Tensor, counters_N: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform in [0, 1), multiples of 2^-24, [S, N]."""
    return _shifted(words(keys_2SN, counters_N), 8).to(dtype).mul_(2.0**-24)


def normal(keys_2S1: Tensor, count: int) -> Tensor:
    """Standard normal, float64 [S, count], by Box and Muller. Devices differ by how they round a logarithm or a cosine,
    in the last of some 16 digits."""
    half = (count + 1) // 2
    whole = _unsigned(words(keys_2S1, counters(2 * half, keys_2S1.device)))
    first, second = whole.double().add_(0.5).mul_(2.0**-32).split(half, dim=1)
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def permutation(keys_2S1: Tensor, count: int) -> Tensor:
    """A permutation of range(count) for each key, int64 [S, count], the same on every device."""
    high, low = _unsigned(words(keys_2S1, counters(2 * count, keys_2S1.device))).split(count, dim=1)
    return torch.argsort((high << 31) | (low >> 1), dim=1, stable=True)


def step_keys(base_2S1: Tensor, step: Tensor) -> Tensor:
    """The keys of one step: `base_2S1` advanced by `step` (int64, no dimension; it stays on the device), [2, S, 1]."""
    return ((base_2S1 + step * STRIDE) & MASK).bitwise_xor_((step * MULTIPLY_1) & MASK)
