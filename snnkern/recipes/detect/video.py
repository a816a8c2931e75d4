"""Videos frame by frame, by OpenCV, which is asked for only where there is a video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnkern.data import DataError

ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')
ENDING, CODE = '.mp4', 'mp4v'
RATE = 25.0  # frames a second, of a video that does not say
Frame = npt.NDArray[np.uint8]


def opencv() -> Any:
    """The module cv2; ImportError, saying how to get it, where it is missing."""
    try:
        import cv2
    except ImportError:
        raise ImportError('videos need OpenCV: pip install opencv-python-headless') from None
    return cv2


class Reader:
    """The frames of a video in their order, RGB uint8 [H, W, 3], read one by one.

    rate: frames a second. size: (width, height). count: frames, as far as the file says; 0: it does not. Raises
    DataError for a file that is no video or has no frame.
    Example: `with Reader(path) as frames: first = next(iter(frames))`.
    """

    def __init__(self, path: Path) -> None:
        self.cv2, self.path = opencv(), path
        self.video = self.cv2.VideoCapture(str(path))
        self.first = self._next() if self.video.isOpened() else None
        if self.first is None:
            self.video.release()
            raise DataError(f'{path} is broken or no video')
        self.rate = float(self.video.get(self.cv2.CAP_PROP_FPS)) or RATE
        self.count = max(0, int(self.video.get(self.cv2.CAP_PROP_FRAME_COUNT)))
        self.size = self.first.shape[1], self.first.shape[0]

    def _next(self) -> Frame | None:
        there, frame = self.video.read()
        return self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2RGB) if there else None

    def __iter__(self) -> Iterator[Frame]:
        frame = self.first
        while frame is not None:
            yield frame
            frame = self._next()

    def __enter__(self) -> 'Reader':
        return self

    def __exit__(self, *error: object) -> None:
        self.video.release()


class Writer:
    """Writes frames, RGB uint8 [H, W, 3], into an .mp4 file of the size and rate of a reader.

    Raises RuntimeError where OpenCV has no such encoder. Example: `with Writer(path, reader) as film: film.add(frame)`.
    """

    def __init__(self, path: Path, like: Reader) -> None:
        self.cv2 = like.cv2
        self.video = self.cv2.VideoWriter(str(path), self.cv2.VideoWriter_fourcc(*CODE), like.rate, like.size)
        if not self.video.isOpened():
            raise RuntimeError(f'{path}: this OpenCV cannot write {ENDING} files ({CODE})')

    def add(self, frame: Frame) -> None:
        """Write one more frame."""
        self.video.write(self.cv2.cvtColor(frame, self.cv2.COLOR_RGB2BGR))

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, *error: object) -> None:
        self.video.release()
