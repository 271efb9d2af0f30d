# SPDX-License-Identifier: BSD-2-Clause
"""A file system that loses power: ext4 in a file, on a loop device.

cut() is the ioctl EXT4_IOC_SHUTDOWN without a flush of its log: from then on
nothing reaches the device, and what had not been synced is gone after the next
mount(). It needs root and loop devices; why_not() says what is missing.

All of it hangs on this process (a mount namespace of its own, a device that
detaches itself), so nothing is left behind however the process ends.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000

libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def alone():
    """Mounts of this process are its own from here on."""
    must(libc.unshare(CLONE_NEWNS), "unshare")
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


def shared_memory():
    """A folder in memory, if there is one: the image is written a lot."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Disk:
    def __init__(self, megabytes=96):
        self.fd = self.device = None
        self.mounted = False
        self.dir = tempfile.mkdtemp(prefix="yoke-power.", dir=shared_memory())
        image = os.path.join(self.dir, "image")
        self.path = os.path.join(self.dir, "disk")
        try:
            os.mkdir(self.path)
            with open(image, "wb") as file:
                file.truncate(megabytes << 20)
            run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum,^uninit_bg", image)
            self.device = run("losetup", "-f", "--show", image).strip()
            self.fd = os.open(self.device, os.O_RDWR | os.O_CLOEXEC)
            run("losetup", "-d", self.device)  # as soon as nobody has it open
            self.mount()
        except BaseException:
            self.close()
            raise

    def mount(self):
        must(libc.mount(self.device.encode(), self.path.encode(), b"ext4", 0,
                        None), "mount")
        self.mounted = True

    def cut(self):
        folder = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def umount(self):
        must(libc.umount2(self.path.encode(), 0), "umount")
        self.mounted = False

    def restore(self):
        """The power is back. Nobody may have a file open."""
        self.umount()
        self.mount()

    def close(self):
        if self.mounted:
            self.umount()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        shutil.rmtree(self.dir, ignore_errors=True)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError("%s: %s" % (words[0], done.stderr.strip()))
    return done.stdout


def why_not():
    """None, or what is missing for a power cut here. Tries it in a child,
    whose mounts go with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = ""
        try:
            alone()
            disk = Disk(16)
            disk.cut()
            disk.restore()
            disk.close()
        except BaseException as failure:
            text = str(failure) or repr(failure)
        os.write(writing, text.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text or None
