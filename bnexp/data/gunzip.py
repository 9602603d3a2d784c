"""Unpacking gzip files, as much of them as is wanted. Python's own reader looks at zeros that follow a file one by one,
so that a few megabytes of them keep it busy for many seconds."""

import zlib
from typing import BinaryIO

PIECE = 1 << 20
"""Bytes that are read at a time."""


class Gunzip:
    """What a gzip file of one member unpacks to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # with gzip's header and checksum

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end. Raises EOFError where the file ends before that, and
        zlib.error where it is damaged or something follows."""
        content = bytearray()
        while len(content) < count and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(PIECE)
            piece = self._inflater.decompress(packed, count - len(content))
            if not packed and not piece:
                raise EOFError("it ends too early")
            content += piece
        if len(content) < count and (self._inflater.unused_data or self._file.read(1)):
            raise zlib.error("something follows its end")
        return bytes(content)
