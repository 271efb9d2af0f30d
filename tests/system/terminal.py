# SPDX-License-Identifier: BSD-2-Clause
"""A terminal for the views: what a program writes, as a screen of characters.

Knows the sequences that yoke writes, and fails on others.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata

from harness import YOKE, end

SEQUENCE = re.compile("\x1b\\[([?]?)([0-9;]*)([A-Za-z])")


def width(c):
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


class Screen:
    def __init__(self, rows, columns):
        self.alternate = self.wrapped = False
        self.cursor = True
        self.others = None
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [""] * rows
        self.row, self.column = 0, 0

    def text(self):
        return "\n".join(line.replace("\0", "").rstrip()
                         for line in self.lines)

    def line_feed(self):
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.lines = self.lines[1:] + [""]

    def put(self, c):
        if self.column + width(c) > self.columns:
            self.wrapped = True
            self.column = 0
            self.line_feed()
        line = self.lines[self.row].ljust(self.column)
        cells = c + "\0" * (width(c) - 1)
        self.lines[self.row] = (line[:self.column] + cells +
                                line[self.column + width(c):])
        self.column += width(c)

    def mode(self, number, on):
        if number == "25":
            self.cursor = on
        else:
            assert number == "1049"
            assert self.alternate != on
            self.alternate = on
            if on:
                self.others = (self.lines, self.row, self.column)
                self.lines = [""] * self.rows
            else:
                self.lines, self.row, self.column = self.others

    def sequence(self, private, numbers, letter):
        if private:
            self.mode(numbers, letter == "h")
        elif letter == "H":
            assert numbers == ""
            self.row = self.column = 0
        elif letter in "JK":
            assert numbers == ""
            self.lines[self.row] = self.lines[self.row][:self.column]
            if letter == "J":
                for row in range(self.row + 1, self.rows):
                    self.lines[row] = ""
        else:
            assert letter == "m"

    def write(self, text):
        """Returns what is left: a sequence that has not ended."""
        at = 0
        while at < len(text):
            c = text[at]
            if c == "\x1b":
                match = SEQUENCE.match(text, at)
                if not match:
                    assert len(text) - at < 16, repr(text[at:])
                    return text[at:]
                self.sequence(*match.groups())
                at = match.end()
                continue
            at += 1
            if c == "\r":
                self.column = 0
            elif c == "\n":
                self.line_feed()
            else:
                assert c.isprintable(), repr(c)
                self.put(c)
        return ""


class Terminal:
    """yoke on a terminal of its own, which is the one that controls it."""

    def __init__(self, daemon, words, rows=24, columns=80):
        self.ours, self.theirs = pty.openpty()
        self.size(rows, columns)
        self.screen = Screen(rows, columns)
        self.modes = termios.tcgetattr(self.theirs)
        self.rest, self.bytes = "", b""
        self.process = subprocess.Popen(
            [YOKE] + list(words), stdin=self.theirs, stdout=self.theirs,
            stderr=self.theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=daemon.environment(TERM="xterm", LC_ALL="C.UTF-8"))

    def size(self, rows, columns):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        self.size(rows, columns)

    def key(self, key):
        os.write(self.ours, key.encode())

    def read(self, seconds):
        if not select.select([self.ours], [], [], seconds)[0]:
            return
        self.bytes += os.read(self.ours, 65536)
        try:
            text, self.bytes = self.bytes.decode(), b""
        except UnicodeDecodeError:  # in the middle of a character
            return
        self.rest = self.screen.write(self.rest + text)

    def until(self, condition, what, seconds=20):
        """Until condition(what the screen shows) is true; the value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition(self.screen.text())
            if value:
                return value
            assert time.monotonic() < deadline, "%s\n%s" % (
                what, self.screen.text())
            self.read(0.05)

    def shows(self, *words):
        """Until it shows all of them; what it shows."""
        self.until(lambda text: all(w in text for w in words), words)
        return self.screen.text()

    def matches(self, *patterns):
        """Until lines match all of them; what it shows. A frame may be half
        drawn at any time, so what is looked for is looked for at once."""
        self.until(lambda text: all(re.search(p, text, re.M)
                                    for p in patterns), patterns)
        return self.screen.text()

    def ended(self, seconds=20):
        """Until it has ended; its status. The terminal is as it was."""
        self.until(lambda _: self.process.poll() is not None, "it ends",
                   seconds)
        while select.select([self.ours], [], [], 0)[0]:
            self.read(0)
        assert termios.tcgetattr(self.theirs) == self.modes
        assert not self.screen.alternate and self.screen.cursor
        return self.process.returncode

    def close(self):
        end(self.process)
        os.close(self.ours)
        os.close(self.theirs)


@contextlib.contextmanager
def terminal(daemon, *words, **options):
    t = Terminal(daemon, words, **options)
    try:
        yield t
    finally:
        t.close()
