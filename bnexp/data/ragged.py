"""Pictures of different sizes, in one flat array of bytes that may be mapped from a file far larger than memory."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


class Ragged:
    """N pictures. Nothing is read before `canvas` asks for it, and then no more than it asks for."""

    sizes: npt.NDArray[np.int32]
    """[N, 2], height and width of each, in pixels."""
    channels: int

    def __init__(self, pixels: Bytes, sizes: npt.NDArray[np.int32], offsets: Indices, channels: int = 3) -> None:
        """`pixels`: all pictures, flat, each in the order height, width, channels. `offsets` [N]: the place in it of
        each picture's first byte."""
        self.pixels, self.sizes, self.offsets, self.channels = pixels, sizes, offsets, channels

    @classmethod
    def packed(cls, pictures: Sequence[Bytes]) -> "Ragged":
        """Of pictures in memory, each [height, width, channels]; all have as many channels."""
        sizes = np.array([picture.shape[:2] for picture in pictures], np.int32).reshape(-1, 2)
        lengths = np.array([0, *(picture.size for picture in pictures)], np.int64)
        flat = np.concatenate([np.empty(0, np.uint8), *(picture.ravel() for picture in pictures)])
        return cls(flat, sizes, np.cumsum(lengths)[:-1], pictures[0].shape[2] if pictures else 3)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Indices) -> "Ragged":
        """Those at `index`, in its order, without reading them."""
        return Ragged(self.pixels, self.sizes[index], self.offsets[index], self.channels)

    def canvas(self, index: Indices) -> tuple[Bytes, npt.NDArray[np.int32]]:
        """The n pictures at `index`, uint8 [n, H, W, channels], each in the upper left corner of a canvas as large as
        the largest of them, zeros elsewhere; and their sizes, int32 [n, 2]."""
        sizes = self.sizes[index]
        height, width = sizes.max(axis=0) if len(sizes) else (0, 0)
        canvas = np.zeros((len(sizes), height, width, self.channels), np.uint8)
        for place, offset, (rows, columns) in zip(canvas, self.offsets[index], sizes.tolist(), strict=True):
            flat = self.pixels[offset : offset + rows * columns * self.channels]
            place[:rows, :columns] = flat.reshape(rows, columns, self.channels)
        return canvas, sizes
