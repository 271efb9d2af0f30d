# SPDX-License-Identifier: BSD-2-Clause
"""Several machines and the lines between them, within one.

A machine is a network namespace. It has no name, is held by a thread and by what
runs in it, and is gone with them. What it sends leaves by a TUN device, whose
other end is a descriptor of ours: one thread carries the packets from machine to
machine, late, or not at all, each direction for itself. So it is the kernel's TCP
that is tested, with losses that only one side knows of, and nothing is needed of
the kernel but namespaces and TUN. No packet leaves: there is no other device.
"""

import concurrent.futures
import ctypes
import errno
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NETWORK = "192.0.2."  # RFC 5737: an address of documents, of nobody's
PACKET_MAX = 65536


def missing():
    """What is not there of what a machine needs; None when all is."""
    if os.geteuid() != 0:
        return "who makes network namespaces is root"
    try:
        net = Network(0)
    except OSError as e:
        return "no network namespace with a TUN device: %s" % e
    net.close()
    return None


class Direction:
    """One way of a line. Whatever changes holds for what is under way, too."""

    def __init__(self):
        self.open = True
        self.loss = 0.0  # share of the packets that are lost
        self.delay = (0.0, 0.0)  # seconds, from and to: packets overtake
        self.heard = 0.0  # time.time() when anything new came through
        self.seen = set()  # (port, sequence number behind) of that

    def is_news(self, packet):
        """Does it carry bytes of a TCP stream that did not come before?"""
        ip = (packet[0] & 15) * 4
        length, protocol = struct.unpack_from("!2xH5xB", packet)
        if protocol != socket.IPPROTO_TCP:
            return False
        port, sequence = struct.unpack_from("!H2xI", packet, ip)
        size = length - ip - (packet[ip + 12] >> 4) * 4
        key = (port, (sequence + size) & 0xFFFFFFFF)
        if size <= 0 or key in self.seen:
            return False
        self.seen.add(key)
        return True


class Machine:
    """Runs what it is given in a network namespace of its own, with a line to
    the network whose directions are `there` and `back`."""

    def __init__(self, number):
        self.address = NETWORK + str(number)
        self.there, self.back = Direction(), Direction()
        # A thread that lasts: what dies with its parent dies with that thread.
        self.inside = concurrent.futures.ThreadPoolExecutor(1)
        try:
            self.tun = self.run(self.arrive)
        except OSError:
            self.inside.shutdown()
            raise

    def arrive(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) < 0:
            code = ctypes.get_errno()
            raise OSError(code, "unshare: " + os.strerror(code))
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"line",
                                                    IFF_TUN | IFF_NO_PI))
            subprocess.run(
                ["ip", "-batch", "-"], check=True, text=True,
                input="link set lo up\naddr add %s/24 dev line\n"
                      "link set line up\n" % self.address)
        except BaseException:
            os.close(tun)
            raise
        return tun

    def run(self, what, *arguments, **options):
        """Calls it inside; gives what it gives."""
        return self.inside.submit(what, *arguments, **options).result()

    def start(self, command, **options):
        """A process of this machine, which dies with the tests."""
        return self.run(subprocess.Popen,
                        ["setpriv", "--pdeathsig", "KILL"] + command, **options)

    def connect(self, address):
        return self.run(socket.create_connection, address, 60)

    def plug(self, up):
        """The device itself goes down, or up again: the machine knows."""
        self.run(subprocess.run, ["ip", "link", "set", "line",
                                  "up" if up else "down"], check=True)

    def cut(self, there=True, back=True):
        """What goes there, or comes back, is lost from now on, or not."""
        self.there.open, self.back.open = not there, not back

    def heal(self):
        self.cut(False, False)

    def slow(self, least, most):
        """Each packet is under way for that many seconds."""
        self.there.delay = self.back.delay = (least, most)

    def close(self):
        self.inside.shutdown()
        os.close(self.tun)


class Network:
    """`hub`, and as many others, each with a line of its own to it."""

    def __init__(self, count, seed=0):
        self.random = random.Random(seed)
        self.machines = []
        self.waiting = []  # (when, serial, to whom, by which way, packet)
        self.serial = 0
        self.over, self.stop = os.pipe()
        try:
            for number in range(1, count + 2):
                self.machines.append(Machine(number))
        except OSError:
            self.release()
            raise
        self.hub, *self.others = self.machines
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def carry(self):
        tuns = {m.tun: m for m in self.machines}
        poll = select.poll()
        for fd in (self.over, *tuns):
            poll.register(fd, select.POLLIN)
        while True:
            left = self.waiting[0][0] - time.monotonic() if self.waiting else 3600
            for fd, _ in poll.poll(max(0, left * 1000)):
                if fd == self.over:
                    return
                self.take(tuns[fd])
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                self.hand_over(*heapq.heappop(self.waiting)[2:])

    def take(self, sender):
        """A packet that a machine sends."""
        try:
            packet = os.read(sender.tun, PACKET_MAX)
        except OSError as e:
            assert e.errno in (errno.EAGAIN, errno.EIO), e  # the device is down
            return
        if packet[0] >> 4 != 4:
            return  # the kernel looks for neighbours by IPv6
        number = packet[19]
        if not 0 < number <= len(self.machines):
            return
        to = self.machines[number - 1]
        way = to.back if sender is self.hub else sender.there
        if self.random.random() < way.loss:
            return
        self.serial += 1
        heapq.heappush(self.waiting, (
            time.monotonic() + self.random.uniform(*way.delay), self.serial,
            to, way, packet))

    def hand_over(self, to, way, packet):
        if not way.open:
            return
        if way.is_news(packet):
            way.heard = time.time()
        try:
            os.write(to.tun, packet)
        except OSError as e:
            assert e.errno == errno.EIO, e  # the device is down

    def release(self):
        for machine in self.machines:
            machine.close()
        os.close(self.over)
        os.close(self.stop)

    def close(self):
        os.write(self.stop, b".")
        self.thread.join()
        self.release()
