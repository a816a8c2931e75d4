"""Zip archives that others made: what would unpack to far more than it is, or is encrypted, is refused at once.

The sizes that are checked are those that an archive gives itself; `unpacked` takes no more than it says.

Nothing is ever unpacked to a disk: members are read by the names that an archive lists, so that a name with `..` in it
reaches no file.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

SMALL = 1 << 28  # bytes that a member may have, however few they come from
RATIO = 200  # zlib packs a thousand equal bytes into one, pictures and weights hardly at all
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of others Python unpacks all before it looks at a limit


def archive(source: str | Path | IO[bytes]) -> zipfile.ZipFile:
    """An archive to read. Raises zipfile.BadZipFile for one that is broken, encrypted or unpacks to too much."""
    opened = zipfile.ZipFile(source)
    try:
        check(opened.infolist())
    except BaseException:
        opened.close()
        raise
    return opened


def check(members: Iterable[zipfile.ZipInfo]) -> None:
    """Raise zipfile.BadZipFile unless all members may be read."""
    for member in members:
        if member.flag_bits & 1:
            raise zipfile.BadZipFile(f'{member.filename} is encrypted')
        if member.compress_type not in METHODS:
            raise zipfile.BadZipFile(f'{member.filename} is neither stored nor deflated: pack it so')
        if member.file_size > max(SMALL, RATIO * member.compress_size):
            sizes = f'from {member.compress_size:,} to {member.file_size:,} bytes'
            raise zipfile.BadZipFile(f'{member.filename} unpacks to more than allowed, {sizes}: store it uncompressed')


def unpacked(members: zipfile.ZipFile, name: str) -> bytes:
    """What is in a member; ZipFile.read would unpack all of it, whatever size it gives."""
    with members.open(name) as file:
        return file.read(members.getinfo(name).file_size)
