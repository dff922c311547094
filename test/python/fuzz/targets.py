"""Everything on the far side that reads what a program can write, or what comes over a wire."""

from fuzz import texts, trees, wire

ALL = [*wire.TARGETS, *trees.TARGETS, *texts.TARGETS]
