/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong: each fault with its whole sentence; what must not be told; what is meant to hurt.
 */

#include "config_reading.h"

/* ---- what is wrong ---- */

static const struct fault {
	const char *yaml;
	const char *message;
} faults[] = {
	/* keys and shapes */
	{ "nmae: x\n", "f.yaml:1: nmae: unknown key; expected one of compat, name, broker, queues, "
		       "labels, responses, "
		       "control, events, cancellation, dead_letter_queue, delivery, run_directory, "
		       "cgroups, limits, log, "
		       "program_directories, search_path, pipe_arguments, programs" },
	{ "# c\nbroker:\n  vhots: /\n",
		"f.yaml:3: broker.vhots: unknown key; expected one of addresses, username, "
		"username_file, password, password_file, vhost, heartbeat, connect_timeout, tls" },
	{ "broker: {tls: {ca: x}}\n", "f.yaml:1: broker.tls.ca: unknown key; expected one of "
				      "ca_file, cert_file, key_file, "
				      "insecure" },
	{ "limits.input: 1MiB\n",
		"f.yaml:1: (a key): unknown key; expected one of compat, name, broker, queues, "
		"labels, responses, control, events, cancellation, dead_letter_queue, delivery, "
		"run_directory, "
		"cgroups, limits, "
		"log, program_directories, search_path, pipe_arguments, programs" },
	{ "queues:\n- name: a\n  slot: 1\n", "f.yaml:3: queues[].slot: unknown key; expected one "
					     "of name, slots, declare, durable, "
					     "type, max_priority" },
	{ "programs:\n  a:\n    argv: [x]\n    cwd: /\n",
		"f.yaml:4: programs.a.cwd: unknown key; expected one of argv, directory, "
		"environment, "
		"timeout, silence_timeout, slots, labels, pipe_arguments" },
	{ "name: a\nname: b\n",
		"f.yaml:2: name: the key stands twice in one mapping, first on line 1" },
	{ "limits: 5\n", "f.yaml:1: limits: expected a mapping (key: value)" },
	{ "limits: [a]\n", "f.yaml:1: limits: expected a mapping (key: value)" },
	{ "name: [a]\n",
		"f.yaml:1: name: expected text of 1 to 128 bytes without control characters" },
	{ "name: {a: b}\n",
		"f.yaml:1: name: expected text of 1 to 128 bytes without control characters" },
	{ "limits: {input: [1KiB]}\n",
		"f.yaml:1: limits.input: expected a size from 1KiB to 1GiB, such as 512KiB" },
	{ "- a\n", "f.yaml:1: YAML: expected a mapping (key: value) at the top" },
	{ "text\n", "f.yaml:1: YAML: expected a mapping (key: value) at the top" },

	/* values */
	{ "compat: spring\n", "f.yaml:1: compat: expected one of none, terarium, not spring" },
	{ "name: \"a\\nb\"\n",
		"f.yaml:1: name: expected text of 1 to 128 bytes without control characters, not "
		"\"a\\nb\"" },
	{ "name: \"a\\0b\"\n", "f.yaml:1: name: expected text without NUL bytes" },
	{ "broker: {addresses: localhost}\n", "f.yaml:1: broker.addresses: a broker address must "
					      "begin with amqp:// or amqps://" },
	{ "broker: {addresses: [amqp://a, '']}\n",
		"f.yaml:1: broker.addresses: an item of the list is empty" },
	{ "broker: {addresses: 'amqp://1,amqp://2,amqp://3,amqp://4,amqp://5,amqp://6,amqp://7,"
	  "amqp://8,amqp://9'}\n",
		"f.yaml:1: broker.addresses: more than 8 broker addresses" },
	{ "broker: {addresses: {a: b}}\n", "f.yaml:1: broker.addresses: expected amqp://host:port, "
					   "several with commas or as a "
					   "list" },
	{ "broker: {heartbeat: 1.5s}\n", "f.yaml:1: broker.heartbeat: expected a duration from 0 "
					 "to 1h in whole seconds, such as "
					 "90s, not 1.5s" },
	{ "broker: {heartbeat: 3601s}\n", "f.yaml:1: broker.heartbeat: expected a duration from 0 "
					  "to 1h in whole seconds, such as "
					  "90s, not 3601s" },
	{ "broker: {heartbeat: 20}\n", "f.yaml:1: broker.heartbeat: expected a duration from 0 to "
				       "1h in whole seconds, such as "
				       "90s, not 20" },
	{ "broker: {connect_timeout: 0}\n", "f.yaml:1: broker.connect_timeout: expected a duration "
					    "from 1s to 5m in whole seconds, "
					    "such as 90s, not 0" },
	{ "broker:\n  tls:\n    insecure: maybe\n",
		"f.yaml:3: broker.tls.insecure: expected true or false, not maybe" },
	{ "broker:\n  tls:\n    cert_file: /etc/passwd\n",
		"f.yaml:3: broker.tls.cert_file: expected broker.tls.key_file with it: certificate "
		"and "
		"key go together" },
	{ "broker:\n  tls:\n    key_file: /etc/passwd\n",
		"f.yaml:3: broker.tls.key_file: expected broker.tls.cert_file with it: certificate "
		"and "
		"key go together" },
	{ "broker: {tls: {ca_file: ca.pem}}\n",
		"f.yaml:1: broker.tls.ca_file: expected the absolute path of a file, not ca.pem" },
	{ "broker: {tls: {ca_file: /missing/ca}}\n",
		"f.yaml:1: broker.tls.ca_file: expected a file that can be read (No such file or "
		"directory), not /missing/ca" },
	{ "broker: {tls: {ca_file: /tmp}}\n",
		"f.yaml:1: broker.tls.ca_file: expected a regular file, not /tmp" },
	{ "responses: {type: headers}\n",
		"f.yaml:1: responses.type: expected one of direct, topic, fanout, not headers" },
	{ "control: {declare: 2}\n", "f.yaml:1: control.declare: expected true or false, not 2" },
	{ "cgroups: on\n", "f.yaml:1: cgroups: expected one of auto, off, not on" },
	{ "run_directory: run\n", "f.yaml:1: run_directory: expected an absolute path, not run" },
	{ "limits: {timeout: -1s}\n", "f.yaml:1: limits.timeout: expected a duration from 0 to "
				      "366d, such as 90s, not -1s" },
	{ "limits: {timeout: 367d}\n", "f.yaml:1: limits.timeout: expected a duration from 0 to "
				       "366d, such as 90s, not 367d" },
	{ "limits: {timeout: 99999999999999999999d}\n",
		"f.yaml:1: limits.timeout: expected a duration from 0 to 366d, such as 90s, not "
		"99999999999999999999d" },
	{ "limits: {grace: 61m}\n",
		"f.yaml:1: limits.grace: expected a duration from 0 to 1h, such as 90s, not 61m" },
	{ "limits: {drain: soon}\n",
		"f.yaml:1: limits.drain: expected a duration from 0 to 1h, such as 90s, not soon" },
	{ "limits: {shutdown: 25h}\n", "f.yaml:1: limits.shutdown: expected a duration from 0 to "
				       "1d, such as 90s, not 25h" },
	{ "limits: {input: 1023}\n", "f.yaml:1: limits.input: expected a size from 1KiB to 1GiB, "
				     "such as 512KiB, not 1023" },
	{ "limits: {output: 1025MiB}\n",
		"f.yaml:1: limits.output: expected a size from 1KiB to 1GiB, such as 512KiB, not "
		"1025MiB" },
	{ "limits: {output: 64MB}\n", "f.yaml:1: limits.output: expected a size from 1KiB to 1GiB, "
				      "such as 512KiB, not 64MB" },
	{ "limits: {progress_record: 255}\n", "f.yaml:1: limits.progress_record: expected a size "
					      "from 256B to 64MiB, such as 512KiB, "
					      "not 255" },
	{ "limits: {stdout_tail: 65MiB}\n", "f.yaml:1: limits.stdout_tail: expected a size from 0B "
					    "to 64MiB, such as 512KiB, not "
					    "65MiB" },
	{ "limits: {message: 1KiB}\n", "f.yaml:1: limits.message: expected a size from 16KiB to "
				       "512MiB, such as 512KiB, not "
				       "1KiB" },
	{ "log: {level: loud}\n",
		"f.yaml:1: log.level: expected one of error, warn, notice, info, debug, not loud" },
	{ "program_directories: bin\n",
		"f.yaml:1: program_directories: expected absolute paths of directories, not bin" },
	{ "program_directories:\n- /tmp\n- /missing\n", "f.yaml:3: program_directories: expected a "
							"directory that is there (No such file or "
							"directory), not /missing" },
	{ "program_directories: [/etc/passwd]\n",
		"f.yaml:1: program_directories: expected a directory, not /etc/passwd" },
	{ "program_directories: [[/tmp]]\n", "f.yaml:1: program_directories: expected absolute "
					     "paths of directories, with colons or "
					     "as a list" },
	{ "pipe_arguments: dashes\n", "f.yaml:1: pipe_arguments: expected one of hyphens, "
				      "underscores, none, not dashes" },

	/* queues */
	{ "queues: {}\n", "f.yaml:1: queues: expected a list of at least one queue, such as "
			  "[{name: requests}]" },
	{ "queues: []\n", "f.yaml:1: queues: expected a list of at least one queue, such as "
			  "[{name: requests}]" },
	{ "queues: requests\n", "f.yaml:1: queues: expected a list of at least one queue, such as "
				"[{name: requests}]" },
	{ "queues:\n- requests\n", "f.yaml:2: queues: expected a mapping (key: value)" },
	{ "queues:\n- slots: 2\n", "f.yaml:2: queues[].name: is missing or empty" },
	{ "queues:\n- name: ''\n", "f.yaml:2: queues[].name: is missing or empty" },
	{ "queues: [{name: a, slots: 0}]\n",
		"f.yaml:1: queues[].slots: expected a whole number from 1 to 10000, not 0" },
	{ "queues: [{name: a, slots: 10001}]\n",
		"f.yaml:1: queues[].slots: expected a whole number from 1 to 10000, not 10001" },
	{ "queues: [{name: a, slots: 4x}]\n",
		"f.yaml:1: queues[].slots: expected a whole number from 1 to 10000, not 4x" },
	{ "queues: [{name: a, max_priority: 256}]\n",
		"f.yaml:1: queues[].max_priority: expected a whole number from 0 to 255, not 256" },
	{ "queues: [{name: a, type: stream}]\n",
		"f.yaml:1: queues[].type: expected one of classic, quorum, not stream" },
	{ "queues:\n- name: a\n- name: b\n- name: a\n",
		"f.yaml:4: queues: the queue a stands here twice" },
	{ "queues: [{name: a, type: quorum, durable: no}]\n",
		"f.yaml:1: queues: the queue a is not durable: a quorum queue always is" },
	{ "queues: [{name: a, type: quorum, max_priority: 3}]\n",
		"f.yaml:1: queues: the queue a has max_priority: only a classic queue can" },
	{ "queues: [{name: a}]\ndead_letter_queue: a\n",
		"f.yaml:2: dead_letter_queue: a is both a request queue and the dead-letter "
		"queue" },
	{ "\nqueues: [{name: taskrunner.dead-letters}]\n",
		"f.yaml:2: queues: taskrunner.dead-letters is both a request queue and the "
		"dead-letter "
		"queue" },

/* labels */
#define LABEL_RULE "expected as a label 1 to 64 letters, digits, _ . : or -"
	{ "labels: [gpu]\n",
		"f.yaml:1: labels: expected label:number, several with commas or as a mapping" },
	{ "labels: gpu\n",
		"f.yaml:1: labels: expected label:number, several with commas or as a mapping, not "
		"gpu" },
	{ "labels:\n  gpu: 0\n",
		"f.yaml:2: labels.gpu: expected a whole number from 1 to 10000, not 0" },
	{ "labels: {gpu: 10001}\n",
		"f.yaml:1: labels.gpu: expected a whole number from 1 to 10000, not 10001" },
	{ "labels: {gpu: [1]}\n", "f.yaml:1: labels.gpu: expected a whole number from 1 to 10000" },
	{ "labels: {a b: 1}\n", "f.yaml:1: labels: " LABEL_RULE ", not \"a b\"" },
	{ "labels: {gpu: 1, gpu: 2}\n",
		"f.yaml:1: gpu: the key stands twice in one mapping, first on line 1" },
	{ "programs: {a: {argv: [x], labels: gpu}}\n",
		"f.yaml:1: programs.a.labels: expected a list of at most 16 labels, such as "
		"[gpu]" },
	{ "programs: {a: {argv: [x], labels: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}}\n",
		"f.yaml:1: programs.a.labels: expected a list of at most 16 labels, such as "
		"[gpu]" },
	{ "programs: {a: {argv: [x], labels: [a/b]}}\n",
		"f.yaml:1: programs.a.labels: " LABEL_RULE },
	{ "programs: {a: {argv: [x], labels: ['']}}\n",
		"f.yaml:1: programs.a.labels: " LABEL_RULE },

	/* programs */
	{ "programs: [a]\n", "f.yaml:1: programs: expected a mapping of names to programs" },
	{ "programs: {a: b}\n", "f.yaml:1: programs.a: expected a mapping (key: value)" },
	{ "programs:\n  a: {}\n", "f.yaml:2: programs.a.argv: is missing or empty" },
	{ "programs:\n  a:\n", "f.yaml:2: programs.a: expected a mapping (key: value)" },
	{ "programs: {a: {argv: []}}\n",
		"f.yaml:1: programs.a.argv: expected a program to run as the first of the list" },
	{ "programs: {a: {argv: ['']}}\n",
		"f.yaml:1: programs.a.argv: expected a program to run as the first of the list" },
	{ "programs: {a: {argv: /bin/true}}\n", "f.yaml:1: programs.a.argv: expected a list such "
						"as [/opt/render/bin/render, --quality, "
						"high]" },
	{ "programs: {a: {argv: [[x]]}}\n", "f.yaml:1: programs.a.argv: expected a list of texts" },
	{ "programs: {a: {argv: [bin/true]}}\n", "f.yaml:1: programs.a.argv: expected an absolute "
						 "path, or a name without / that PATH "
						 "finds" },
	{ "programs: {a: {argv: [\"a\\0b\"]}}\n",
		"f.yaml:1: programs.a.argv: expected text without NUL bytes" },
	{ "programs: {a: {argv: [x], directory: data}}\n",
		"f.yaml:1: programs.a.directory: expected an absolute path, not data" },
	{ "programs: {a: {argv: [x], environment: [A=1]}}\n",
		"f.yaml:1: programs.a.environment: expected a mapping such as {LANG: C.UTF-8}" },
	{ "programs: {a: {argv: [x], environment: {A=: 1}}}\n",
		"f.yaml:1: programs.a.environment: expected names of variables without =" },
	{ "programs: {a: {argv: [x], environment: {A: [1]}}}\n",
		"f.yaml:1: programs.a.environment: expected text as the value of a variable" },
	{ "programs: {a: {argv: [x], environment: {TASKIFACE_ID: 1}}}\n",
		"f.yaml:1: programs.a.environment: variables whose names begin TASKIFACE_ are the "
		"runner's own" },
	{ "programs: {a: {argv: [x], timeout: 5 minutes}}\n",
		"f.yaml:1: programs.a.timeout: expected a duration from 0 to 366d, such as 90s, "
		"not \"5 "
		"minutes\"" },
	{ "programs: {a: {argv: [x], slots: -1}}\n",
		"f.yaml:1: programs.a.slots: expected a whole number from 0 to 10000, not -1" },
	{ "programs: {a: {argv: [x], pipe_arguments: auto}}\n",
		"f.yaml:1: programs.a.pipe_arguments: expected one of hyphens, underscores, none, "
		"not "
		"auto" },
#define NAME_FAULT(shown)                                                                      \
	"f.yaml:1: programs: expected as a program's name at most 255 bytes without /, or an " \
	"absolute path, not " shown
	{ "programs: {..: {argv: [x]}}\n", NAME_FAULT("..") },
	{ "programs: {.: {argv: [x]}}\n", NAME_FAULT(".") },
	{ "programs: {good: {argv: [x]}, a/b: {argv: [x]}}\n", NAME_FAULT("a/b") },
	{ "programs: {/a/../b: {argv: [x]}}\n", NAME_FAULT("/a/../b") },
	{ "programs: {/a/./b: {argv: [x]}}\n", NAME_FAULT("/a/./b") },
	{ "programs: {/a//b: {argv: [x]}}\n", NAME_FAULT("/a//b") },
	{ "programs: {/a/: {argv: [x]}}\n", NAME_FAULT("/a/") },
	{ "programs: {/: {argv: [x]}}\n", NAME_FAULT("/") },
	{ "programs: {\"a\\nb\": {argv: [x]}}\n", NAME_FAULT("\"a\\nb\"") },
	{ "programs: {\"\": {argv: [x]}}\n", "f.yaml:1: YAML: a key is empty or holds a NUL" },

	/* substitution */
	{ "name: ${UNSET}\n", "f.yaml:1: name: the environment variable UNSET is not set" },
	{ "name: ${UNSET\n", "f.yaml:1: name: a ${ has no }" },
	{ "name: ${UNSET:-a\n", "f.yaml:1: name: a ${ has no }" },
	{ "name: '${'\n", "f.yaml:1: name: a ${ has no }" },
	{ "name: '${}'\n", "f.yaml:1: name: expected ${NAME} or ${NAME:-text}" },
	{ "name: '${1A}'\n", "f.yaml:1: name: expected ${NAME} or ${NAME:-text}" },
	{ "name: '${A B}'\n", "f.yaml:1: name: expected ${NAME} or ${NAME:-text}" },
	{ "name: '${UNSET-text}'\n", "f.yaml:1: name: expected ${NAME} or ${NAME:-text}" },
	{ "name: '${UNSET:?text}'\n", "f.yaml:1: name: expected ${NAME} or ${NAME:-text}" },
	{ "name: '${UNSET:-${A}}'\n",
		"f.yaml:1: name: inside ${NAME:-text} a dollar sign is $$, and no ${…}" },
	{ "name: '${A:-${A}}'\n",
		"f.yaml:1: name: inside ${NAME:-text} a dollar sign is $$, and no ${…}" },
	{ "name: $HOME\n", "f.yaml:1: name: expected ${NAME}, or $$ for a dollar sign" },
	{ "name: a$\n", "f.yaml:1: name: expected ${NAME}, or $$ for a dollar sign" },
	{ "limits: {input: \"${A}\"}\n", /* told as it was written, not what it stood for */
		"f.yaml:1: limits.input: expected a size from 1KiB to 1GiB, such as 512KiB, not "
		"${A}" },
	{ "name: \"${LATIN}\"\n", "f.yaml:1: name: expected text in UTF-8" },

	/* YAML */
	{ "name: a\n\tbroker: b\n", "f.yaml:2: YAML: found a tab character that violates "
				    "indentation while scanning a plain "
				    "scalar" },
	{ "\tname: a\n", "f.yaml:1: YAML: found character that cannot start any token while "
			 "scanning for the next "
			 "token" },
	{ "name: *a\n", "f.yaml:1: YAML: aliases (*) are not taken" },
	{ "name: &a x\n", "f.yaml:1: YAML: anchors (&) and tags (!) are not taken" },
	{ "limits: &a {}\n", "f.yaml:1: YAML: anchors (&) and tags (!) are not taken" },
	{ "queues: !x []\n", "f.yaml:1: YAML: anchors (&) and tags (!) are not taken" },
	{ "name: !!binary aGVsbG8=\n", "f.yaml:1: YAML: anchors (&) and tags (!) are not taken" },
	{ "%YAML 1.1\n---\nname: a\n", "f.yaml:1: YAML: directives (%) are not taken" },
	{ "name: a\n%TAG ! b\n", "f.yaml:2: YAML: directives (%) are not taken" },
	{ "\xef\xbb\xbf%TAG ! b\n", "f.yaml:1: YAML: directives (%) are not taken" },
	{ "#\r%TAG ! b\r", "f.yaml:1: YAML: directives (%) are not taken" },
	{ "#\xe2\x80\xa8%TAG ! b\n", "f.yaml:1: YAML: directives (%) are not taken" },
	{ "? [a]\n: b\n", "f.yaml:1: YAML: a key is to be text, not a list or a mapping" },
	{ "name: a\n---\nname: b\n", "f.yaml:2: YAML: a second document begins; one is taken" },
	{ "name: [a\n",
		"f.yaml:2: YAML: did not find expected ',' or ']' while parsing a flow sequence" },
	{ "name: \"a\n",
		"f.yaml:2: YAML: found unexpected end of stream while scanning a quoted scalar" },
	{ "name: \xff\n",
		"f.yaml:1: YAML: the text is not clean UTF-8: invalid leading UTF-8 octet" },
	{ "name: a\n# \xc3(\n",
		"f.yaml:2: YAML: the text is not clean UTF-8: invalid trailing UTF-8 octet" },
	{ "name: a\nb: \x01\n",
		"f.yaml:2: YAML: the text is not clean UTF-8: control characters are not allowed" },
};

static void test_faults_of_the_file(void **state)
{
	char *env[] = { "A=value", "LATIN=\xe4", NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		refuse(faults[i].yaml, strlen(faults[i].yaml), env, faults[i].message);
}

static const struct fault environment_faults[] = {
	{ "TASKRUNNER_NMAE=x",
		"environment: TASKRUNNER_NMAE: names no setting; see taskrunner.yaml(5)" },
	{ "TASKRUNNER_=x", "environment: TASKRUNNER_: names no setting; see taskrunner.yaml(5)" },
	{ "TASKRUNNER_PROGRAMS=x",
		"environment: TASKRUNNER_PROGRAMS: names no setting; see taskrunner.yaml(5)" },
	{ "TASKRUNNER_LIMITS_INPUT=${A}",
		"environment: TASKRUNNER_LIMITS_INPUT: expected a size from 1KiB to 1GiB, such as "
		"512KiB, not ${A}" },
	{ "TASKRUNNER_NAME=\xff", "environment: TASKRUNNER_NAME: expected text in UTF-8" },
	{ "TASKRUNNER_BROKER_ADDRESSES=http://x", "environment: TASKRUNNER_BROKER_ADDRESSES: a "
						  "broker address must begin with amqp:// or "
						  "amqps://" },
	{ "TASKRUNNER_QUEUES=a:0", "environment: TASKRUNNER_QUEUES: expected a whole number from 1 "
				   "to 10000, not a:0" },
	{ "TASKRUNNER_QUEUES=a:",
		"environment: TASKRUNNER_QUEUES: expected a whole number from 1 to 10000, not a:" },
	{ "TASKRUNNER_QUEUES=:1",
		"environment: TASKRUNNER_QUEUES: expected text of 1 to 255 bytes without control "
		"characters, not :1" },
	{ "TASKRUNNER_QUEUES=a,b,",
		"environment: TASKRUNNER_QUEUES: expected text of 1 to 255 bytes without control "
		"characters, not a,b," },
	{ "TASKRUNNER_QUEUES=a:1,a:2",
		"environment: TASKRUNNER_QUEUES: the queue a stands here twice" },
	{ "TASKRUNNER_QUEUES=taskrunner.dead-letters",
		"environment: TASKRUNNER_QUEUES: taskrunner.dead-letters is both a request queue "
		"and the "
		"dead-letter queue" },
	{ "TASKRUNNER_DEAD_LETTER_QUEUE=taskrunner.requests",
		"environment: TASKRUNNER_DEAD_LETTER_QUEUE: taskrunner.requests is both a request "
		"queue "
		"and the dead-letter queue" },
	{ "TASKRUNNER_LABELS=gpu", "environment: TASKRUNNER_LABELS: expected label:number, several "
				   "with commas or as a mapping, not gpu" },
	{ "TASKRUNNER_LABELS=gpu:0", "environment: TASKRUNNER_LABELS: expected a whole number from "
				     "1 to 10000, not gpu:0" },
	{ "TASKRUNNER_LABELS=gpu:1,:2",
		"environment: TASKRUNNER_LABELS: " LABEL_RULE ", not gpu:1,:2" },
	{ "TASKRUNNER_LABELS=gpu:1,gpu:2",
		"environment: TASKRUNNER_LABELS: expected each label once, not gpu:1,gpu:2" },
	{ "TASKRUNNER_PROGRAM_DIRECTORIES=/tmp::/", "environment: TASKRUNNER_PROGRAM_DIRECTORIES: "
						    "expected absolute paths of directories, "
						    "not /tmp::/" },
	{ "TASKRUNNER_BROKER_TLS_CERT_FILE=/etc/passwd",
		"environment: TASKRUNNER_BROKER_TLS_CERT_FILE: expected broker.tls.key_file with "
		"it: "
		"certificate and key go together" },
	{ "TASKRUNNER_BROKER_PASSWORD_FILE=password",
		"environment: TASKRUNNER_BROKER_PASSWORD_FILE: expected the absolute path of a "
		"file, not "
		"password" },
};

static void test_faults_of_the_environment(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(environment_faults) / sizeof(*environment_faults); i++) {
		char *env[] = { (char *)environment_faults[i].yaml, NULL };

		refuse("", 0, env, environment_faults[i].message);
	}
	refuse("", 0, (char *[]){ "TASKRUNNER_NAME=a", "TASKRUNNER_NAME=b", NULL },
		"environment: TASKRUNNER_NAME: is there twice");
}

static void test_many_labels(void **state)
{
	cleanup_with(buf_deinit) struct buf yaml = { 0 };
	char *env[] = { NULL };
	struct config c;

	(void)state;
	buf_append_text(&yaml, "labels:\n");
	for (int i = 0; i < 64; i++)
		buf_printf(&yaml, "  %c%063d: 1\n", 'a', i);
	buf_append(&yaml, "", 1);
	c = accept(yaml.data, env);
	assert_int_equal(c.labels.n, 64);
	config_deinit(&c);
	yaml.len--;
	buf_append_text(&yaml, "  b: 1\n");
	refuse(yaml.data, yaml.len, env, "f.yaml:66: labels.b: more than 64 labels");
	refuse("labels: {"
	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: 1}\n",
		79, env,
		"f.yaml:1: labels: " LABEL_RULE
		", not \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\"");
}

static void test_long_names(void **state)
{
	char *env[] = { NULL };
	char name[300], yaml[400];

	(void)state;
	memset(name, 'q', sizeof(name));
	snprintf(yaml, sizeof(yaml), "queues: [{name: %.255s}]\n", name);
	struct config c = accept(yaml, env);
	assert_int_equal(strlen(c.queues[0].name), 255);
	config_deinit(&c);
	snprintf(yaml, sizeof(yaml), "queues: [{name: %.256s}]\n", name);
	refuse(yaml, strlen(yaml), env,
		"f.yaml:1: queues[].name: expected text of 1 to 255 bytes without control "
		"characters, "
		"not \"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq…\"");
	snprintf(yaml, sizeof(yaml), "programs: {%.256s: {argv: [x]}}\n", name);
	refuse(yaml, strlen(yaml), env,
		NAME_FAULT(
			"\"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq…\""));
}

/* ---- secrets ---- */

static void test_secrets_are_not_told(void **state)
{
	static const char *const texts[] = {
		"broker: {password: hunter2, nonsense: 1}\n",
		"broker: {username: a, password:hunter2}\n",
		"broker:\n  username: a\n  password:hunter2\n",
		"broker:\n  password:hunter2\n",
		"broker: password=hunter2\n",
		"broker: {password: \"hunter2\\0\"}\n",
		"broker: {password: [hunter2]}\n",
		"broker: {password: {hunter2: 1}}\n",
		"broker: {password: &hunter2 x}\n",
		"broker: {password: *hunter2}\n",
		"broker: {password: !hunter2 x}\n",
		"broker: {password: \"hunter2}\n",
		"broker: {password: hunter2$}\n",
		"broker: {password: '${A:-hunter2'}\n",
		"broker: {password: \"hunter2\\xff\"\n",
		"broker: {addresses: 'amqp://user:hunter2@host:port/'}\n",
		"broker: {addresses: 'http://user:hunter2@host/'}\n",
		"broker: {addresses: ['amqp://user:hunter2@[/']}\n",
		"broker: {heartbeat: '${SECRET}'}\n",
		"broker: {tls: {ca_file: '/${SECRET}'}}\n",
		"program_directories: ['/${SECRET}']\n",
		"queues: [{name: a, slots: '${SECRET}'}]\n",
		"labels: {gpu: '${SECRET}'}\n",
		"labels: '${SECRET}:x:1,${SECRET}:x:1'\n",
		"labels: '${SECRET} :1'\n",
	};
	char *env[] = { "SECRET=hunter2", NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		refuse_without(texts[i], env, "hunter2");
	refuse_without("", (char *[]){ "TASKRUNNER_BROKER_PASSWORD=hunter2\xff", NULL }, "hunter2");
	refuse_without("", (char *[]){ "TASKRUNNER_BROKER_ADDRESSES=amqp://u:hunter2@h:x", NULL },
		"hunter2");
}

/* ---- hostile documents ---- */

static void repeat(struct buf *out, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_append_text(out, text), 0);
}

static void refuse_buf(struct buf *text, const char *message)
{
	char *env[] = { NULL };

	refuse(text->data, text->len, env, message);
	buf_deinit(text);
}

static void test_bombs(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_append_text(&b, "a: &a [x,x,x,x,x,x,x,x,x]\n"
			    "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n");
	refuse_buf(&b, "f.yaml:1: YAML: anchors (&) and tags (!) are not taken");
	buf_append_text(&b, "programs: ");
	repeat(&b, "[", 500000);
	refuse_buf(&b, "f.yaml:1: YAML: nested deeper than 16 levels");
	repeat(&b, "{a: ", 250000);
	refuse_buf(&b, "f.yaml:1: YAML: nested deeper than 16 levels");
	for (int i = 0; i < 17; i++)
		buf_printf(&b, "%*sa:\n", i, "");
	buf_append_text(&b, "                 b: c\n"); /* 17 mappings, each in the last */
	refuse_buf(&b, "f.yaml:17: YAML: nested deeper than 16 levels");
	buf_append_text(&b, "queues: [");
	repeat(&b, "a,", 5000);
	refuse_buf(&b, "f.yaml:1: YAML: more than 4096 entries in one place");
	for (int i = 0; i < 4097; i++)
		buf_printf(&b, "k%d:\n", i);
	refuse_buf(&b, "f.yaml:4097: YAML: more than 4096 entries in one place");
	buf_append_text(&b, "queues:\n");
	for (int i = 0; i < 20; i++) {
		buf_append_text(&b, "- [");
		repeat(&b, "a,", 4000);
		buf_append_text(&b, "]\n");
	}
	refuse_buf(&b, "f.yaml:18: YAML: more than 65536 values");
	repeat(&b, "# comment\n", 104858);
	refuse_buf(&b, "f.yaml:1: YAML: larger than 1MiB");
	buf_append_text(&b, "name: ");
	repeat(&b, "x", 1000000);
	refuse_buf(&b,
		"f.yaml:1: name: expected text of 1 to 128 bytes without control characters, not "
		"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\"");
	repeat(&b, "y", 1000000);
	buf_append_text(&b, ": 1\n");
	refuse_buf(&b, "f.yaml:1: YAML: mapping values are not allowed in this context");
}

static void test_substitution_is_bounded(void **state)
{
	struct buf b = { 0 }, variable = { 0 };
	char *env[] = { NULL, NULL };

	(void)state;
	buf_append_text(&variable, "A=");
	repeat(&variable, "x", 100000);
	buf_append(&variable, "", 1);
	env[0] = variable.data;
	buf_append_text(&b, "programs: {a: {argv: [x, '");
	repeat(&b, "${A}", 50);
	buf_append_text(&b, "']}}\n");
	refuse(b.data, b.len, env, "f.yaml:1: programs.a.argv: ${…} gave more than 4MiB in all");
	buf_deinit(&b);
	buf_deinit(&variable);
}

static void test_garbage(void **state)
{
	static const char utf16[] = "\xff\xfe"
				    "n\0a\0m\0e\0:\0 \0a\0\n\0";
	static const char nul[] = "name: a\0b\n";
	char *env[] = { NULL };
	char bytes[4096];
	unsigned seed = 1;
	struct config c = accept("\xef\xbb\xbfname: marked\n", env);

	(void)state;
	assert_string_equal(c.name, "marked");
	config_deinit(&c);
	refuse(utf16, sizeof(utf16) - 1, env,
		"f.yaml:1: YAML: the text is not clean UTF-8: invalid leading UTF-8 octet");
	refuse(nul, sizeof(nul) - 1, env,
		"f.yaml:1: YAML: the text is not clean UTF-8: control characters are not allowed");
	for (int round = 0; round < 200; round++) {
		struct result result;

		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)(rand_r(&seed) >> 8);
		read_text(&result, bytes, sizeof(bytes), env);
		assert_int_equal(result.r, -EINVAL);
		assert_memory_equal(result.err.text, "f.yaml:", 7);
		config_deinit(&result.config);
	}
	for (const char *const *empty = (const char *const[]){ "", "\n", "# c\n", "---\n",
		     "--- \n...\n", "~\n", NULL };
		*empty; empty++) {
		c = accept(*empty, env);
		config_deinit(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults_of_the_file),
		cmocka_unit_test(test_faults_of_the_environment),
		cmocka_unit_test(test_many_labels),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_secrets_are_not_told),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_substitution_is_bounded),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
