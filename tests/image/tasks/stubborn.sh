#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Does not care for SIGTERM, nor does its child.
trap '' TERM
echo '{"message":"started"}' >"$TASKIFACE_PROGRESS_PIPE"
while :; do sleep 1; done
