"""cgroup: finding our own from what /proc says, and who may be moved, without any cgroup."""

import unittest

from confine import cgroup

HYBRID = "9:name=systemd:/\n4:memory:/user/me\n0::/\n"
SYSTEMD = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n"
UNIFIED = "26 23 0:23 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
BESIDE_VERSION_1 = "\n".join(
    (
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
    )
)


class PathTest(unittest.TestCase):
    def test_is_the_line_of_hierarchy_0(self):
        for text, expected in (
            (SYSTEMD, "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope"),
            (HYBRID, "/"),
            ("0::/a::b\n", "/a::b"),
            ("4:memory:/user/me\n1:cpu:/\n", None),
            ("", None),
        ):
            with self.subTest(text=text):
                self.assertEqual(cgroup.path_in(text), expected)


class DirectoryTest(unittest.TestCase):
    def test_is_found_by_the_mount_that_shows_it(self):
        for path, mountinfo, expected in (
            ("/", UNIFIED, "/sys/fs/cgroup"),
            ("/system.slice/cordon.service", UNIFIED, "/sys/fs/cgroup/system.slice/cordon.service"),
            ("/", BESIDE_VERSION_1, "/sys/fs/cgroup/unified"),
            # only a part of the hierarchy is mounted, as in a container without a cgroup namespace
            ("/docker/abc", "50 40 0:30 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro", "/sys/fs/cgroup"),
            ("/docker/abc/x", "50 40 0:30 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro", "/sys/fs/cgroup/x"),
            ("/docker/abcd", "50 40 0:30 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro", None),
            ("/", "50 40 0:30 /../.. /sys/fs/cgroup ro - cgroup2 cgroup ro", None),
            # a place with a space and a backslash, as proc(5) writes them
            ("/a", r"50 40 0:30 / /mnt/my\040own\134groups rw - cgroup2 none rw", "/mnt/my own\\groups/a"),
            # mounted twice: the later one covers
            ("/a", UNIFIED + "\n51 40 0:30 / /else rw - cgroup2 none rw", "/else/a"),
            ("/", "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory", None),
            ("/", "rubbish", None),
            ("/", "", None),
        ):
            with self.subTest(path=path, mountinfo=mountinfo):
                self.assertEqual(cgroup.directory_of(path, mountinfo), expected)


class StrangersTest(unittest.TestCase):
    #: 1 is init; 10 was started in the cgroup, 11 (a client) by it, 12 and 13 (servers) by that, 14 by the first server; 20 came from elsewhere
    PARENTS = {1: 0, 10: 1, 11: 10, 12: 11, 13: 11, 14: 12, 20: 1}

    def strangers(self, *listed):
        return cgroup.strangers(list(listed), self.PARENTS, 12)

    def test_what_the_first_process_of_the_cgroup_started_is_no_stranger(self):
        self.assertEqual(self.strangers(10, 11, 12, 13, 14), [])

    def test_the_server_alone_with_its_own(self):
        self.assertEqual(self.strangers(12, 14), [])

    def test_beside_the_server_alone_its_siblings_are_strangers(self):
        self.assertEqual(self.strangers(12, 13, 14), [13])

    def test_a_process_from_elsewhere_is_one(self):
        self.assertEqual(self.strangers(10, 12, 20), [20])

    def test_so_is_one_of_another_process_namespace_and_one_that_has_ended(self):
        self.assertEqual(self.strangers(12, 0, 99), [0, 99])

    def test_a_circle_of_parents_has_an_end(self):
        self.assertEqual(cgroup.strangers([5, 6], {5: 6, 6: 5}, 5), [])


if __name__ == "__main__":
    unittest.main()
