"""Files in and out of a directory, without a sandbox: what the walk does with trees that were made to do harm."""

import os
import shutil
import tempfile
import unittest
from unittest import mock

import files


def payload(name, content):
    return len(name).to_bytes(2, "big") + name + content


class InDirectory(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        self.frames = []

    def path(self, *parts):
        return os.path.join(self.place, *parts)

    def write(self, name, content=b"x"):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content)

    def collect(self, known=None, most_files=100, most_bytes=1 << 20):
        self.frames = []
        return files.collect(self.place, most_files, most_bytes, known or {}, lambda kind, what: self.frames.append((kind, what)))

    def names(self):
        return [what.decode() for kind, what in self.frames if kind == b"N"]

    def descriptors(self):
        return len(os.listdir("/proc/self/fd"))


class Put(InDirectory):
    def test_makes_directories_and_writes(self):
        name, known = files.put(self.place, payload(b"a/b/c.bin", b"\0\1"))
        self.assertEqual(name, b"a/b/c.bin")
        self.assertEqual(known["bytes"], 2)
        with open(self.path("a/b/c.bin"), "rb") as file:
            self.assertEqual(file.read(), b"\0\1")

    def test_replaces_a_link_instead_of_following_it(self):
        outside = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, outside)
        os.symlink(os.path.join(outside, "made"), self.path("a"))
        files.put(self.place, payload(b"a", b"x"))
        self.assertEqual(os.listdir(outside), [])
        self.assertFalse(os.path.islink(self.path("a")))

    def test_does_not_go_through_a_linked_directory(self):
        outside = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, outside)
        os.symlink(outside, self.path("d"))
        with self.assertRaisesRegex(files.Unfit, "the file d/a could not be put"):
            files.put(self.place, payload(b"d/a", b"x"))
        self.assertEqual(os.listdir(outside), [])

    def test_refuses_names_that_climb(self):
        for name in (b"../a", b"/etc/a", b"a/../../b", b"", b".", b"a//b", b"a/"):
            with self.assertRaises(files.Unfit, msg=name):
                files.put(self.place, payload(name, b"x"))

    def test_leaves_no_descriptor_open(self):
        before = self.descriptors()
        for name in (b"a/b/c", b"a/b", b"../x"):
            try:
                files.put(self.place, payload(name, b"x"))
            except files.Unfit:
                pass
        self.assertEqual(self.descriptors(), before)


class Collect(InDirectory):
    def test_an_empty_directory_costs_one_look(self):
        with mock.patch("files.os.scandir", side_effect=os.scandir) as scandir:
            self.assertEqual(self.collect(), {"count": 0, "examples": []})
        self.assertEqual(scandir.call_count, 1)

    def test_what_is_known_does_not_come_again_until_it_changes(self):
        self.write("same")
        self.write("changed", b"1")
        known = files.index(self.place)
        self.assertEqual(sorted(known), [b"changed", b"same"])
        self.write("changed", b"22")
        self.write("new")
        self.collect(known)
        self.assertEqual(self.names(), ['{"name": "changed", "bytes": 2}', '{"name": "new", "bytes": 1}'])

    def test_what_is_known_and_does_not_fit_is_not_counted(self):
        _, known = files.put(self.place, payload(b"large", b"x" * 1000))
        self.assertEqual(self.collect({b"large": known}, most_bytes=10)["count"], 0)
        self.write("large", b"y" * 1000)
        self.assertEqual(self.collect({b"large": known}, most_bytes=10)["count"], 1)

    def test_there_is_an_end_to_the_entries_that_are_looked_at(self):
        for n in range(50):
            self.write(f"{n:02}")
        with mock.patch("files._MOST_ENTRIES", 20):
            report = self.collect()
        self.assertEqual(len(self.names()), 20)
        self.assertEqual(report["count"], 1)
        self.assertIn("not looked at", report["examples"][0]["why"])

    def test_there_is_an_end_to_the_time(self):
        self.write("a")
        with mock.patch("files._MOST_SECONDS", -1.0):
            self.assertIn("took more than", self.collect()["examples"][0]["why"])

    def test_a_file_that_gets_shorter_while_it_is_read_is_told_with_less(self):
        self.write("a", b"x" * 100)
        with mock.patch("files.os.read", return_value=b""):
            self.collect()
        self.assertEqual(self.frames, [(b"N", b'{"name": "a", "bytes": 100}')])

    def test_pieces_are_within_the_protocol(self):
        self.write("a", b"x" * 200_000)
        self.collect()
        self.assertEqual([len(what) for kind, what in self.frames if kind == b"B"], [65536, 65536, 65536, 3392])

    def test_names_in_the_report_are_short_and_printable(self):
        for name in (b"n\n", b"\xff" * 200, "\u202e".encode() * 80, b"long" * 60 + b"\t"):
            with open(os.path.join(os.fsencode(self.place), name), "w", encoding="utf-8"):
                pass
        for example in self.collect()["examples"]:
            self.assertLessEqual(len(example["name"]), 100)
            self.assertTrue(example["name"].isprintable())

    def test_leaves_no_descriptor_open(self):
        self.write("a/b/c")
        os.makedirs(self.path("/".join("d" * 60)))
        before = self.descriptors()
        self.collect()
        self.assertEqual(self.descriptors(), before)

    def test_other_file_systems_are_not_entered(self):
        self.write("d/a")
        real = os.stat

        def elsewhere(name, **how):
            found = real(name, **how)
            return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]]) if name == b"d" else found

        with mock.patch("files.os.stat", side_effect=elsewhere):
            self.assertEqual(self.collect()["count"], 0)
        self.assertEqual(self.names(), [])


if __name__ == "__main__":
    unittest.main()
