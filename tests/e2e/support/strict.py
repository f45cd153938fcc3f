# SPDX-License-Identifier: Apache-2.0
"""A decoder of responses that is as strict as the ancestor's server.

That server maps a response to a class whose members are exactly these twelve and drops, without a
word, whatever has another member or another status. So here anything but exactly them is a failure.
"""

import base64
import json

import msgpack

MEMBERS = ("id", "script", "status", "output", "additionalProperties", "projectId", "userId",
           "stdout", "stderr", "requestSHA256", "routingKey", "useCache")
STATUSES = ("QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCELLING", "CANCELLED")
FINAL = ("SUCCESS", "FAILED", "CANCELLED")

TEXT = ("id", "script", "status", "stdout", "stderr")
TEXT_OR_NULL = ("projectId", "userId", "requestSHA256", "routingKey")


def _pairs(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), "a member stands twice: %s" % names
    return pairs


def decode_json(body):
    text = body.decode("utf-8")
    pairs = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    assert isinstance(pairs, list), "not an object: %.200r" % text
    members = dict(pairs)
    _check(pairs, members)
    # additionalProperties was read into pairs as well; read it again as people see it.
    members["additionalProperties"] = json.loads(text)["additionalProperties"]
    if members["output"] is not None:
        assert isinstance(members["output"], str), "output is %r" % members["output"]
        members["output"] = base64.b64decode(members["output"], validate=True)
    return members


def _no_constant(name):
    raise AssertionError("%s is not JSON" % name)


def decode_msgpack(body):
    pairs = msgpack.unpackb(body, raw=False, strict_map_key=False, object_pairs_hook=_pairs)
    assert isinstance(pairs, list), "not a map"
    members = dict(pairs)
    _check(pairs, members)
    members["additionalProperties"] = msgpack.unpackb(
        body, raw=False, strict_map_key=False)["additionalProperties"]
    assert members["output"] is None or isinstance(members["output"], bytes), "output is not bin"
    return members


def _check(pairs, members):
    assert tuple(name for name, _ in pairs) == MEMBERS, "members are %s" % [n for n, _ in pairs]
    assert members["status"] in STATUSES, "status is %r" % members["status"]
    for name in TEXT:
        assert isinstance(members[name], str), "%s is %r" % (name, members[name])
    for name in TEXT_OR_NULL:
        assert members[name] is None or isinstance(members[name], str), \
            "%s is %r" % (name, members[name])
    assert isinstance(members["useCache"], bool), "useCache is %r" % members["useCache"]


class Response:
    """One response: its twelve members, and what travels beside them."""

    def __init__(self, method, properties, body):
        self.properties = properties
        self.headers = properties.headers or {}
        self.routing_key = method.routing_key
        self.body = body
        if properties.content_type == "application/msgpack":
            self.members = decode_msgpack(body)
        else:
            assert properties.content_type == "application/json", properties.content_type
            self.members = decode_json(body)

    def __getattr__(self, name):
        try:
            return self.__dict__["members"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def is_final(self):
        return self.status in FINAL

    @property
    def cause(self):
        return self.headers.get("x-tr-cause", "")

    @property
    def text(self):
        """The output of a FAILED response, which is text for people."""
        return None if self.output is None else self.output.decode("utf-8")

    def __repr__(self):
        output = self.output if self.output is None or len(self.output) < 300 else \
            self.output[:300] + b"... (%d bytes)" % len(self.output)
        return "<%s output=%r cause=%s headers=%r stderr=%.300r>" % (
            self.status, output, self.cause or "-", self.headers, self.stderr)
