"""What a cgroup is told of a sandbox's limits, by where its files lie and who counts its processes."""

import tempfile
import unittest

import scratch
import usage
from confine import tree
from make import Child

MB = 1 << 20


class LimitOfGroupTest(unittest.TestCase):
    def setUp(self):
        self.child = Child(1, 0, 0, 0, 0, 0)
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        work = tree.WORK
        self.addCleanup(setattr, tree, "WORK", work)
        tree.WORK = place.name

    def test_what_lies_in_a_file_system_of_its_own_is_memory_that_the_warden_took(self):
        self.assertEqual(usage.limit_of_group(self.child, 1 << 60), (1 << 60) - usage.file_system_bytes())

    def test_a_directory_of_the_host_takes_nothing_of_it(self):
        self.assertGreater(usage.file_system_bytes(), 0)  # the host's own files
        self.child.watch = scratch.Watch(tree.WORK, MB, 10)
        self.assertEqual(usage.limit_of_group(self.child, 64 * MB), 64 * MB)


class AdmitTest(unittest.TestCase):
    def test_files_are_admitted_until_disk_or_inodes_are_full(self):
        watch = scratch.Watch("/nowhere", 3 * 4096, 10)
        self.assertEqual([watch.admit(size) for size in (1, 4096, 4096, 1)], [True, True, True, False])
        watch = scratch.Watch("/nowhere", MB, 2)
        self.assertEqual([watch.admit(0) for _ in range(3)], [True, True, False])


if __name__ == "__main__":
    unittest.main()
