"""bnexp tests the claims of the Batch Normalization paper (Ioffe and Szegedy, 2015) and says what the data say."""

__version__ = "0.1.0"
