#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Asks for tasks, cancels and lists them, with pika and nothing else."""

import base64
import json
import os
import sys
import time
import uuid

import pika

BROKER = os.environ.get("TASKCTL_BROKER", "amqp://guest:guest@127.0.0.1:5672")
QUEUE = os.environ.get("TASKCTL_QUEUE", "taskrunner.requests")
CONTROL = os.environ.get("TASKCTL_CONTROL", "taskrunner.control")
FINAL = ("SUCCESS", "FAILED", "CANCELLED")
PATIENCE = 10  # seconds for a first answer
QUIET = 0.5  # seconds after which no other runner will answer


def submit(channel, replies, program, input=""):
    request = {"id": str(uuid.uuid4()), "script": program,
               "input": base64.b64encode(input.encode()).decode()}
    channel.confirm_delivery()  # and so the publish fails if no queue has taken it
    channel.basic_publish("", QUEUE, json.dumps(request), mandatory=True, properties=pika.BasicProperties(
        content_type="application/json", delivery_mode=2, reply_to=replies,
        headers={"x-tr-sent": int(time.time() * 1000)}))
    print(request["id"], flush=True)
    seen = (0, 0)
    for _, properties, body in channel.consume(replies, auto_ack=True):
        # A response may come twice, and one of an earlier run late.
        order = tuple(properties.headers.get("x-tr-" + name, 0) for name in ("attempt", "sequence"))
        if order <= seen:
            continue
        seen = order
        response = json.loads(body)
        output = base64.b64decode(response["output"] or "").decode(errors="replace")
        print((response["status"] + " " + output).strip(), flush=True)
        if response["status"] in FINAL:
            return 0 if response["status"] == "SUCCESS" else 1


def ask(channel, replies, message):
    """Puts a question to the runners and gives the answers as they come."""
    token = str(uuid.uuid4())
    channel.basic_publish(CONTROL, "", json.dumps(message), properties=pika.BasicProperties(
        content_type="application/json", reply_to=replies, correlation_id=token))
    until = time.monotonic() + PATIENCE
    for method, properties, body in channel.consume(replies, auto_ack=True, inactivity_timeout=0.1):
        if method is not None and properties.correlation_id == token:
            yield json.loads(body)
            until = time.monotonic() + QUIET
        elif time.monotonic() > until:
            return


def cancel(channel, replies, id):
    """Only the runner that has the task answers."""
    for answer in ask(channel, replies, {"op": "cancel", "id": id}):
        print(answer.get("error") or "%s by %s" % (answer["result"], answer["runner"]))
        return 0 if answer.get("result") == "accepted" else 1
    print("no runner has it", file=sys.stderr)
    return 1


def list_tasks(channel, replies):
    """Every runner answers: a record for each task, and then `end`."""
    answers = list(ask(channel, replies, {"op": "list"}))
    for answer in answers:
        if "id" in answer:
            print(answer["id"], answer["state"], answer["program"], answer["runner"])
    return 0 if answers else 1


def main():
    verbs = {"submit": submit, "cancel": cancel, "list": list_tasks}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit("usage: tasks.py submit PROGRAM [INPUT] | cancel ID | list")
    with pika.BlockingConnection(pika.URLParameters(BROKER)) as connection:
        channel = connection.channel()
        replies = channel.queue_declare("", exclusive=True).method.queue
        return verbs[sys.argv[1]](channel, replies, *sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
