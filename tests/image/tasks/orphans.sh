#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Ends at once, and leaves processes to whoever adopts them: some that end by themselves, one that
# would stay, in a session of its own.
i=0
while [ $i -lt 20 ]; do
	(sleep 0.1 &)
	i=$((i + 1))
done >/dev/null 2>&1
(setsid sleep 1000 >/dev/null 2>&1 &)
echo "left alone" >"$TASKIFACE_OUTPUT_PIPE"
