"""Matrices of numbers in MATLAB's files of version 5 to 7.2.

Written here because scipy's reader ends the process on some broken files (1.17, a matrix whose class was changed).
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnkern._archives import RATIO, SMALL

HEADER = 128
COMPRESSED, MATRIX = 15, 14
# The types of elements that are numbers.
DTYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
CLASSES = range(6, 16)  # of a matrix: double, single, and whole numbers; others are text, cells, structures, ...
COMPLEX = 0x800


def matrix(path: str | Path, name: str) -> npt.NDArray[Any]:
    """The matrix of that name, [rows, columns, ...]. Raises ValueError for a broken file, or one without it.

    Its dtype is that in which the file stores the numbers, which may be narrower than the matrix's class.

    Source: MathWorks, MAT-File Format, chapter 1, level 5. Example: `matrix('LUT_1.mat', 'spiketrain').shape`.
    """
    content = Path(path).read_bytes()
    order = {b'IM': '<', b'MI': '>'}.get(content[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError('it has no header of a MAT-file of version 5 to 7.2')
    for kind, data in _elements(content[HEADER:], order, 1):
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(data, max(SMALL, RATIO * len(data)))
            except zlib.error as error:
                raise ValueError(str(error)) from error
            if not unpacker.eof:
                raise ValueError('a compressed element is cut off, or unpacks to too much')
            kind, data = next(_elements(data, order), (0, b''))
        if kind != MATRIX:
            continue
        flags, sizes, called, *numbers = [*_elements(data, order), (0, b''), (0, b''), (0, b'')]
        if called[1] == name.encode():
            return _array(flags[1], _numbers(*sizes, order), _numbers(*numbers[0], order), order)
    raise ValueError(f'it holds no {name}')


def _elements(data: bytes, order: str, step: int = 8) -> Iterator[tuple[int, bytes]]:
    """Type and content of one element after the other; ValueError where one is cut off.

    step: the next begins at a multiple of it. Within a matrix elements are padded to 8 bytes, on top they are not.
    """
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError('it is cut off within an element')
        kind, size = struct.unpack_from(f'{order}II', data, at)
        start = at + 8
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise ValueError(f'a small element of {size} bytes')
        if start + size > len(data):
            raise ValueError('it is cut off within an element')
        yield kind, data[start : start + size]
        at = -(-(start + size) // step) * step


def _numbers(kind: int, data: bytes, order: str) -> npt.NDArray[Any]:
    if kind not in DTYPES:
        raise ValueError(f'an element of the type {kind}, which holds no numbers')
    return np.frombuffer(data, order + DTYPES[kind])  # ValueError for a part of a number


def _array(flags: bytes, sizes: npt.NDArray[Any], numbers: npt.NDArray[Any], order: str) -> npt.NDArray[Any]:
    (bits,) = struct.unpack(f'{order}I', flags[:4]) if len(flags) >= 4 else (0,)
    if bits & 0xFF not in CLASSES or bits & COMPLEX:
        raise ValueError('no matrix of real numbers')
    shape = [int(size) for size in sizes]
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f'a matrix of the shape {shape}')
    return numbers.reshape(shape, order='F')  # ValueError where they are too few or too many
