"""Native CPU kernels by raw pointers; docs/backend.md is the contract. Addresses are numbers, 0 is none."""

from collections.abc import Sequence

API_VERSION: tuple[int, int]
CHARGES: list[str]
FIRES: list[str]
RESETS: list[str]
SURROGATES: list[str]
DTYPES: list[str]
CONNECTS: list[str]
PACKS: list[str]
POOLS: list[str]
EVENT_POOLS: list[str]
EVENT_WEIGHTS: list[str]

class Block:
    def __init__(self, bytes: int, thrifty: bool = False) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def add_line(T: int, n: int, x: int, line: int, to: int, channels: int, inner: int, threads: int = 1) -> None: ...
def choose_instruction_set(name: str) -> None: ...
def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...
def keep_limit() -> int: ...
def kept_bytes() -> int: ...
def moments(dtype: int, T: int, n: int, x: int, out: int, channels: int, inner: int, threads: int = 1) -> None: ...
def multistep_bwd(
    neuron: bytes,
    dtype: int,
    T: int,
    n: int,
    x: int,
    grad_s: int,
    states: int = 0,
    checkpoints: int = 0,
    interval: int = 8,
    constant: bool = False,
    coefficients: int = 0,
    steps: int = 1,
    channels: int = 1,
    inner: int = 1,
    grad_last: int = 0,
    grad_v: int = 0,
    grad_sum: int = 0,
    line: int = 0,
    grad_x: int = 0,
    grad_states: int = 0,
    sums: int = 0,
    threads: int = 1,
) -> None: ...
def multistep_fwd(
    neuron: bytes,
    dtype: int,
    T: int,
    n: int,
    x: int,
    s: int,
    states: int = 0,
    checkpoints: int = 0,
    interval: int = 8,
    constant: bool = False,
    coefficients: int = 0,
    steps: int = 1,
    channels: int = 1,
    inner: int = 1,
    last: int = 0,
    v: int = 0,
    connect: int = 0,
    residual: int = 0,
    sum: int = 0,
    threads: int = 1,
) -> None: ...
def pack_neuron(
    charge: tuple[str, Sequence[float]],
    fire: tuple[str, Sequence[float]],
    reset: tuple[str, Sequence[float]],
    surrogate: tuple[str, Sequence[float]] = ...,
    c: float = 0.0,
    coefficients: Sequence[str] = ...,
) -> bytes: ...
def pack_spikes(
    kind: int,
    dtype: int,
    n: int,
    x: int,
    packed: int,
    scale: float,
    inverse: float,
    one: int,
    invalid: int = 0,
    threads: int = 1,
) -> None: ...
def poisson(
    dtype: int,
    T: int,
    n: int,
    seed: int,
    x: int,
    s: int,
    first: int = 0,
    channels: int = 1,
    inner: int = 1,
    threads: int = 1,
) -> None: ...
def pool_bwd(
    mode: int,
    dtype: int,
    shape: Sequence[int],
    rows: Sequence[int],
    cols: Sequence[int],
    scale: float,
    x: int,
    grad: int,
    grad_x: int,
    last: int = 0,
    grad_last: int = 0,
    grad_state: int = 0,
    threads: int = 1,
) -> None: ...
def pool_fwd(
    mode: int,
    dtype: int,
    shape: Sequence[int],
    rows: Sequence[int],
    cols: Sequence[int],
    scale: float,
    x: int,
    out: int,
    state: int = 0,
    last: int = 0,
    threads: int = 1,
) -> None: ...
def set_keep_limit(bytes: int) -> None: ...
def unpack_spikes(
    kind: int,
    dtype: int,
    n: int,
    x: int,
    packed: int,
    scale: float,
    inverse: float,
    one: int,
    invalid: int = 0,
    threads: int = 1,
) -> None: ...
