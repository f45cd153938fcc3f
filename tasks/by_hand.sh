#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Speaks to the three pipes with nothing but sh, cat and printf: no library, no command of ours.
# Counts the lines of its input; a line "stop" is a failure.
set -eu

input=$(cat "$TASKIFACE_INPUT_PIPE") # to the end of file: the whole input

lines=0
while IFS= read -r line; do
    lines=$((lines + 1))
    if [ "$line" = stop ]; then
        printf '{"taskiface":"fail","kind":"data","message":"line %d says stop"}\n' "$lines" \
            >"$TASKIFACE_PROGRESS_PIPE"
        exit 1
    fi
    printf '{"message":"line %d"}\n' "$lines" >"$TASKIFACE_PROGRESS_PIPE"
done <<END
$input
END

printf '{"task": "%s", "lines": %d}\n' "$TASKIFACE_ID" "$lines" >"$TASKIFACE_OUTPUT_PIPE"
