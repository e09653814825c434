"""The zip archive that PyTorch writes, read with bounds on everything that a file can claim.

Source: the layout of `torch.save` since PyTorch 1.6: entries are stored without compression in one folder, `data.pkl`
and one entry `data/<key>` for each storage. Nothing is extracted: the file is mapped into memory and entries are views
of it, so the sizes that a file declares never decide how much memory is allocated.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from typing import BinaryIO

from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import local_copy

MAX_DIRECTORY_BYTES = 4 << 20
"""Limit for the list of entries; a model with 10,000 arrays needs about 1 MiB."""

MAX_ENTRIES = 50_000
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1
RESAVE = "load it with PyTorch and save it again by torch.save, or by safetensors.torch.save_file"


class _Bounded:
    """A file that refuses to read large pieces at once; a zip's directory is read in one piece."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        count = left if count is None or count < 0 else min(count, left)
        if count > MAX_DIRECTORY_BYTES:
            raise UserError(f"a directory of {count:,} bytes, more than {MAX_DIRECTORY_BYTES:,}")
        return self._file.read(count)


class TorchArchive:
    """A file of `torch.save`, local or on cloud storage, opened for reading."""

    def __init__(self, path: str | os.PathLike) -> None:
        """Opens the file and checks its list of entries.

        Raises:
          UserError: The file is absent, damaged, not a zip archive of PyTorch, or contains what PyTorch never writes.
        """
        self.path = os.fspath(path)
        self._intact: set[str] = set()
        try:
            with local_copy(path) as local, local.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._check_start(file.read(512), size)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                infos = self._directory(file, size)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        self._entries = self._checked(infos, size)
        pickles = [name for name in self._entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self.fault(f"expected one entry data.pkl, as torch.save writes it, got {len(pickles)}")
        self._prefix = pickles[0].removesuffix("data.pkl")
        if self.has("byteorder") and self.read("byteorder", 16) != b"little":
            raise self.fault("written on a big-endian machine, which is not supported")

    def fault(self, what: str) -> UserError:
        """Returns the error with the file's name, on one line whatever names the file contains."""
        return UserError(f"{self.path}: {''.join(letter if letter.isprintable() else '?' for letter in what)}")

    def has(self, name: str) -> bool:
        """Whether the archive's folder has the entry."""
        return self._prefix + name in self._entries

    def size(self, name: str) -> int:
        """Length of an entry in bytes; UserError if there is no such entry."""
        return self._entry(name)[1]

    def read(self, name: str, limit: int) -> bytes:
        """Content of a small entry; UserError if it is longer than `limit` bytes."""
        if self.size(name) > limit:
            raise self.fault(f"entry {name} has {self.size(name):,} bytes, more than {limit:,}")
        return bytes(self.view(name))

    def view(self, name: str) -> memoryview:
        """Content of an entry without a copy; UserError if it is absent, or damaged by its checksum."""
        start, size, checksum = self._entry(name)
        header = self._map[start : start + LOCAL_HEADER_BYTES]
        if len(header) < LOCAL_HEADER_BYTES or header[:4] != b"PK\x03\x04":
            raise self.fault(f"entry {name}: damaged: no header where the directory places it")
        start += LOCAL_HEADER_BYTES + sum(struct.unpack("<HH", header[26:30]))
        if start + size > len(self._map):
            raise self.fault(f"entry {name}: damaged: ends {start + size - len(self._map):,} bytes after the file")
        content = memoryview(self._map)[start : start + size]
        if name not in self._intact and zlib.crc32(content) != checksum:
            raise self.fault(f"entry {name}: damaged: wrong checksum; copy the file again")
        self._intact.add(name)
        return content

    def _entry(self, name: str) -> tuple[int, int, int]:
        if not self.has(name):
            raise self.fault(f"entry {name} is missing: the file is incomplete")
        return self._entries[self._prefix + name]

    def _check_start(self, start: bytes, size: int) -> None:
        if size == 0:
            raise self.fault("empty file")
        if start[:1] == b"\x80" or start[257:262] == b"ustar":
            raise self.fault(
                "PyTorch's old format, a bare pickle, is not read: load it with torch.load(FILE, weights_only=True) "
                "and save it again by torch.save, or by safetensors.torch.save_file"
            )
        if start[:4] != b"PK\x03\x04":
            raise self.fault("neither a zip archive of torch.save nor a .safetensors file")

    def _directory(self, file: BinaryIO, size: int) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(_Bounded(file, size)) as archive:
                return archive.infolist()
        except UserError as error:
            raise self.fault(str(error)) from error
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError, OverflowError) as error:
            raise self.fault(f"damaged or truncated zip archive ({error}): copy the file again") from error

    def _checked(self, infos: list[zipfile.ZipInfo], size: int) -> dict[str, tuple[int, int, int]]:
        """Entries as {name: (offset of the header, length, checksum)}."""
        if len(infos) > MAX_ENTRIES:
            raise self.fault(f"{len(infos):,} entries, more than {MAX_ENTRIES:,}")
        packed = [i for i in infos if i.compress_type != zipfile.ZIP_STORED or i.compress_size != i.file_size]
        if packed:
            worst = max(packed, key=lambda info: info.file_size)
            raise self.fault(
                f"entry {worst.filename[:100]} is compressed, {worst.compress_size:,} bytes that claim to be "
                f"{worst.file_size:,}; torch.save does not compress entries: {RESAVE}"
            )
        entries: dict[str, tuple[int, int, int]] = {}
        for info in infos:
            name = info.filename
            if info.flag_bits & ENCRYPTED or name in entries or info.header_offset < 0:
                raise self.fault(f"entry {name[:100]} is encrypted, misplaced or duplicated: not written by torch.save")
            entries[name] = (info.header_offset, info.file_size, info.CRC)
        if (total := sum(info.file_size for info in infos)) > size:
            raise self.fault(f"entries claim {total:,} bytes in a file of {size:,}")
        return entries
