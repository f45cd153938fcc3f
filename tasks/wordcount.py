#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts words, and says how much each count is worth: wordcount.c in Python, with fewer rounds."""

import argparse
import collections
import random
import re
import statistics
import sys

import taskiface


def draw(words, rounds, wanted, task):
    """For each wanted word, its count in each round, in which as many words are drawn anew."""
    generator = random.Random(1)  # the same input gives the same output
    counts = {word: [] for word in wanted}
    for i in range(rounds):
        if task.cancelled:
            raise taskiface.Cancelled
        drawn = collections.Counter(generator.choices(words, k=len(words)))
        for word in wanted:
            counts[word].append(drawn[word])
        task.progress((i + 1) / rounds, "round %d of %d" % (i + 1, rounds))
    return counts


def main():
    with taskiface.Task() as task:  # takes its own arguments out of sys.argv
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rounds", type=int, default=60)
        parser.add_argument("--top", type=int, default=10)
        options = parser.parse_args()

        task.on_cancel()
        words = re.findall(r"[a-z]+", task.input().decode("ascii", "replace").lower())
        task.progress(0, "counting")
        counts = collections.Counter(words)
        top = sorted(counts, key=lambda word: (-counts[word], word))[:options.top]
        drawn = draw(words, options.rounds, top, task)
        task.output_json({
            "words": len(words),
            "distinct": len(counts),
            "top": [{"word": word, "count": counts[word],
                     "plus_minus": round(statistics.pstdev(drawn[word] or [0]), 1)}
                    for word in top],
        })


if __name__ == "__main__":
    try:
        main()
    except taskiface.Cancelled:
        sys.exit("cancelled")
