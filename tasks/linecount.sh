#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Counts the lines of its input, and its words by their first letter, with the command taskiface.
set -eu

text=$(mktemp)
trap 'rm -f "$text" "$text.words"' EXIT
trap 'exit 143' TERM INT # a trap on EXIT alone would not run

taskiface input >"$text"
taskiface progress 0 'splitting into words'
lines=$(wc -l <"$text")
tr '[:upper:]' '[:lower:]' <"$text" | tr -cs '[:alpha:]' '\n' >"$text.words"

letters='' n=0
for letter in a b c d e f g h i j k l m n o p q r s t u v w x y z; do
    # Distinct words, and not only how many: sorting is the work.
    distinct=$(grep "^$letter" "$text.words" | LC_ALL=C sort | uniq -c | wc -l)
    letters="$letters${letters:+, }\"$letter\": $((distinct))"
    n=$((n + 1))
    taskiface progress "$(echo "$n" | awk '{ print $1 / 26 }')" "words with $letter: $((distinct))"
done

printf '{"lines": %d, "distinct_words_by_letter": {%s}}\n' "$lines" "$letters" | taskiface output
