"""Recordings of event cameras, in six formats that cameras and data sets write."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnkern.data.common import DataError, reading
from snnkern.data.mat_files import matrix

Events = npt.NDArray[np.void]
EVENT = np.dtype([('x', np.int16), ('y', np.int16), ('t', np.int64), ('p', np.uint8)])
HEADER_BYTES = 1 << 16
RAW_WORD = {'evt2': 4, 'evt3': 2}
DAT_WORD = 8
NMNIST_WORD = 5
TAXELS = 10  # of a side of ST-MNIST's sensor


def read_events(path: str | Path) -> Events:
    """The events of a recording: a structured array [N] of x, y (pixels), t (microseconds) and p (1 = on, 0 = off).

    path: the format follows from its ending, and for .raw from its header. .aedat4: iniVation's (CIFAR10-DVS).
    .dat: Prophesee's events of version 2 (N-CARS). .raw: Prophesee's EVT 2.0 and EVT 3.0. .bin: N-MNIST's and
    N-Caltech101's. .mat: ST-MNIST's `spiketrain`. x, y: int16, t: int64 as the file has it, p: uint8, in the file's
    order. The packages that read them (aedat, expelliarmus, tonic) come with `pip install 'snnkern[events]'`.

    Raises DataError, naming the file, if it is missing, broken, cut off within an event, without events or of another
    format, or if its package is not installed. What is cut off between two events cannot be noticed in .dat, .raw
    and .bin.
    Example: `events = read_events('sample_nmnist.bin'); events['t'][-1] - events['t'][0]`.
    """
    file = Path(path).expanduser()
    reader = READERS.get(file.suffix)
    if reader is None:
        raise DataError(f'{file} is of no known event format, expected one of {", ".join(READERS)}')
    if not file.is_file():
        raise DataError(f'no event file {file}')
    try:
        with reading(f'{file} is broken or no {file.suffix} recording'):
            return _checked(reader(file))
    except ImportError as error:
        raise DataError(
            f"{file} needs the package {(error.name or '').partition('.')[0]}: pip install 'snnkern[events]'"
        ) from None


def event_array(x: Any, y: Any, t: Any, p: Any) -> Events:
    """Columns of events as one structured array of the type that `read_events` returns."""
    for name, column, high in (('x', x, 2**15), ('y', y, 2**15), ('p', p, 2)):
        if len(column) and not (np.min(column) >= 0 and np.max(column) < high):
            raise ValueError(f'{name} must lie in 0..{high - 1}, got {np.min(column)} to {np.max(column)}')
    events = np.empty(len(x), EVENT)
    events['x'], events['y'], events['t'], events['p'] = x, y, t, p
    return events


def _checked(events: Events) -> Events:
    if not len(events):
        raise ValueError('it holds no events')
    if min(events['x'].min(), events['y'].min()) < 0 or events['p'].max() > 1:
        raise ValueError('it has events with negative coordinates or a polarity above 1')
    return events


def _header(path: Path) -> tuple[str, int]:
    """The lines that begin with % at the start of Prophesee's files, and their length in bytes."""
    with path.open('rb') as file:
        start = file.read(HEADER_BYTES)
    match = re.match(rb'(%[^\n]*\n)+?(?=% end\r?\n|[^%]|\Z)(% end\r?\n)?', start)
    if match is None:
        raise ValueError('it does not begin with a header of lines with %')
    return match[0].decode('latin-1'), match.end()


def _expelliarmus(path: Path, encoding: str, data_bytes: int, word: int) -> Events:
    from expelliarmus import Wizard

    if data_bytes % word:
        raise ValueError(f'{data_bytes} bytes of events are not a multiple of {word}: it is cut off')
    found = Wizard(encoding=encoding).read(path)
    if found is None:
        raise ValueError(f'no {encoding} events')
    return event_array(*(found[name] for name in EVENT.names or ()))


def _raw(path: Path) -> Events:
    header, length = _header(path)
    version = re.search(r'^% (?:evt |format EVT)([\d.]+)', header, re.MULTILINE)
    encoding = {'2.0': 'evt2', '2': 'evt2', '3.0': 'evt3', '3': 'evt3'}.get(version[1] if version else '')
    if encoding is None:
        raise ValueError(f'expected EVT 2.0 or 3.0 in its header, got {version[0][2:] if version else "neither"}')
    return _expelliarmus(path, encoding, path.stat().st_size - length, RAW_WORD[encoding])


def _dat(path: Path) -> Events:
    length = _header(path)[1] + 2  # type and size of an event
    return _expelliarmus(path, 'dat', path.stat().st_size - length, DAT_WORD)


def _bin(path: Path) -> Events:
    from tonic.io import read_mnist_file

    if path.stat().st_size % NMNIST_WORD:
        raise ValueError(f'{path.stat().st_size} bytes are not a multiple of {NMNIST_WORD}: it is cut off')
    return read_mnist_file(str(path), EVENT)


def _aedat4(path: Path) -> Events:
    from aedat import Decoder

    try:
        decoder = Decoder(str(path))
        streams = [key for key, stream in decoder.id_to_stream().items() if stream['type'] == 'events']
        packets = [packet['events'] for packet in decoder if packet['stream_id'] == min(streams, default=None)]
    except BaseException as error:
        if type(error).__name__ != 'PanicException':  # the decoder's own, which is no Exception
            raise
        raise ValueError(str(error)) from None
    parts = [event_array(part['x'], part['y'], part['t'], part['on']) for part in packets]
    return np.concatenate(parts) if parts else np.empty(0, EVENT)


def _mat(path: Path) -> Events:
    train = matrix(path, 'spiketrain')
    if train.ndim != 2 or len(train) != TAXELS**2 + 1:
        raise ValueError(f'expected a spiketrain of {TAXELS**2} taxels and the times, got {train.shape}')
    step, taxel = train[:-1].T.nonzero()
    t = (train[-1, step] * 1e6).astype(np.int64)
    return event_array(taxel % TAXELS, taxel // TAXELS, t, train[taxel, step] > 0)


READERS: dict[str, Callable[[Path], Events]] = {
    '.aedat4': _aedat4,
    '.dat': _dat,
    '.raw': _raw,
    '.bin': _bin,
    '.mat': _mat,
}
