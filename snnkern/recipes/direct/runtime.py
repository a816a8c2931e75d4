"""Where and how a training runs, beside what is trained: devices, precision, processes, folders."""

import os
from dataclasses import dataclass
from typing import Any

import torch

from snnkern._checks import whole

PRECISIONS = {'32': '32-true', 'bf16': 'bf16-mixed', '16': '16-mixed'}
DEVICES = ('auto', 'cpu', 'cuda')
EXISTING = ('stop', 'resume', 'overwrite')


@dataclass(frozen=True)
class Settings:
    """How a training runs. None of it changes what is learned, up to rounding.

    threads: of torch's CPU ops. backend: of snnkern's; None: the first that can. compile: by torch.compile. precision:
    "32", or "bf16" or "16" under autocast. device: "cpu", "cuda", or "auto": a GPU where there is one. workers:
    processes that read data, 0: none beside. checkpoint_every: steps. existing: what to do about a folder with a run in
    it, "stop", "resume" or "overwrite". Raises ValueError for what is not such.
    """

    threads: int = 1
    backend: str | None = None
    compile: bool = False
    precision: str = '32'
    device: str = 'auto'
    workers: int = 0
    checkpoint_every: int = 100
    existing: str = 'stop'

    def __post_init__(self) -> None:
        for name, known in (('precision', tuple(PRECISIONS)), ('device', DEVICES), ('existing', EXISTING)):
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}, got {getattr(self, name)!r}')
        for name, least in (('threads', 1), ('workers', 0), ('checkpoint_every', 1)):
            whole(name, getattr(self, name), at_least=least)


def fabric(settings: Settings, folder: Any = None) -> Any:
    """Lightning's Fabric, launched; started by torchrun it is one of all processes.

    folder: where TensorBoard's logs go; None: none. Raises ImportError, naming the extra, without lightning.
    """
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.loggers.tensorboard import TensorBoardLogger
    except ImportError:
        raise ImportError("training needs lightning: pip install 'snnkern[train]'") from None
    if settings.precision == '16' and (settings.device == 'cpu' or not torch.cuda.is_available()):
        raise ValueError("precision: '16' needs a GPU, got '16' on a CPU, which has 'bf16'")
    processes, local = (int(os.environ.get(name, 1)) for name in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE'))
    made = Fabric(
        accelerator=settings.device,
        devices=local,
        num_nodes=processes // local,
        strategy='ddp' if processes > 1 else 'auto',
        precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]
        loggers=[] if folder is None else [TensorBoardLogger(folder, name='', version='')],
    )
    made.launch()
    return made
