/* SPDX-License-Identifier: Apache-2.0
 *
 * Delivery: custody of one request by two runners and a broker. README.md says what is assumed.
 *
 * A copy of the request is a row of the table below; what happens is one of the actions in the middle
 * of this file, each one guard and one effect; the processes at the end only offer the actions, in any
 * order and after any delay. Where an action is a step of the code, it carries the name of the crash
 * point: S0 … S10. Two things are asserted, in start() and in broker_takes_ack(): no two live
 * attempts, and no loss. The third, that a final comes, is the calm mode at the end.
 *
 * Time is counted in ticks, and only the order of these matters (real values in brackets):
 *   F  a run lives at most this long after a proof    [2 hb - margin + 10 s for SIGKILL: 40 s]
 *   D  a suspect waits at least this long; D > F      [2 hb after the confirm of the question]
 *   L  lease of a copy in a hold queue                [300 s]
 *   M  of which a run does not use the last M         [L - min(15 s, L/4) + 10 s: 5 s are left]
 *   J  the broker's clock may jump so far ahead: J <= D
 */
#ifndef F
#define F 1
#endif
#ifndef D
#define D 2
#endif
#ifndef L
#define L 3
#endif
#ifndef M
#define M 1
#endif
#ifndef J
#define J 2
#endif

/* Bounds of the search: faults in one history, and copies that exist at the same moment. */
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef COPIES
#define COPIES 3
#endif

/* 1: ack: lease. 0: ack: hold, without hold queues, renewals and hand-back. */
#ifndef PARK
#define PARK 1
#endif

/* The rules, R1 ... of README.md. Setting one to 0 must break a property: ./verify does so with each. */
#ifndef KNOWS_ALL         /* R1 only a run that knows all copies may live by its lease … */
#define KNOWS_ALL 1
#endif
#ifndef ADOPTED           /* R1 … what it adopts from the request queue ends that, once it was copied … */
#define ADOPTED 1
#endif
#ifndef ANSWERED          /* R1 … and so does an answer to a question … */
#define ANSWERED 1
#endif
#ifndef ORIGINAL_LOST     /* R1 … and an original that is lost with the connection, once it was copied */
#define ORIGINAL_LOST 1
#endif
#ifndef OLDEST            /* R2 the lease ends with the oldest copy that may exist, not with the newest */
#define OLDEST 1
#endif
#ifndef ACK_SENT          /* R3 a newer copy that comes home stands only for older ones whose ack was sent */
#define ACK_SENT 1
#endif
#ifndef IN_TERM           /* R3 … and whose lease cannot have ended before that, even if the broker's clock jumped */
#define IN_TERM 1
#endif
#ifndef OWED              /* R4 an answer that is owed stops the proof */
#define OWED 1
#endif
#ifndef ANNOUNCE          /* R5 after a reconnect no proof before the running tasks are announced */
#define ANNOUNCE 1
#endif
#ifndef ASK               /* R6 a suspect asks who has it … */
#define ASK 1
#endif
#ifndef WAIT              /* R6 … waits D for an answer … */
#define WAIT 1
#endif
#ifndef CONFIRM_QUESTION  /* R6 … from the confirm of its question on … */
#define CONFIRM_QUESTION 1
#endif
#ifndef PING              /* R6 … and starts when a ping sent after D is answered */
#define PING 1
#endif
#ifndef BACK_AGAIN        /* R6 who hears "back" asks again */
#define BACK_AGAIN 1
#endif
#ifndef TIE               /* R7 of two suspects the lower instance keeps the request … */
#define TIE 1
#endif
#ifndef TIE_AGAIN         /* R7 … and begins its own question anew … */
#define TIE_AGAIN 1
#endif
#ifndef TIE_HIGHER        /* R7 … and the higher, asked by the lower, asks again */
#define TIE_HIGHER 1
#endif
#ifndef HAND_BACK         /* R8 "leased" is said only by who holds a live delivery, else "mine" */
#define HAND_BACK 1
#endif
#ifndef NUMBERED          /* R8 only answers to the last question count, and a suspect that gets another copy asks anew */
#define NUMBERED 1
#endif
#ifndef CLEAN_WAITS       /* R9 a clean copy waits for D as any other, unless its giver says "free" … */
#define CLEAN_WAITS 1
#endif
#ifndef FREE_ALL          /* R9 … which says only who knew all, nothing being outstanding … */
#define FREE_ALL 1
#endif
#ifndef FREE_KILLED       /* R9 … whose process is dead … */
#define FREE_KILLED 1
#endif
#ifndef FREE_ACKED        /* R9 … after the acknowledgement of what it held is proved … */
#define FREE_ACKED 1
#endif
#ifndef FREE_ONCE         /* R9 … if it published the copy once … */
#define FREE_ONCE 1
#endif
#ifndef FREE_FIRST        /* R9 … and which counts for the first delivery of that copy */
#define FREE_FIRST 1
#endif
#ifndef SUSPECT_HOME      /* R9, R10 a copy sent home by who does not know all is a suspect */
#define SUSPECT_HOME 1
#endif
#ifndef SUSPECT_RECOVER   /* R10 a copy found in a dead instance's hold queue is a suspect */
#define SUSPECT_RECOVER 1
#endif
#ifndef BACK_AGAIN_HELD   /* R11 who was asked while it held nothing says so, before a new delivery proves anything */
#define BACK_AGAIN_HELD 1
#endif
#ifndef SPARE_OFTEN       /* R11 a copy is put beside one that was delivered often, never beside a clean one … */
#define SPARE_OFTEN 1
#endif
#ifndef SPARE_ADOPTED     /* R11 … who adopts a request does not know whether another did so … */
#define SPARE_ADOPTED 1
#endif
#ifndef SPREAD            /* R11 … and who did it does not know all any more */
#define SPREAD 1
#endif
#ifndef FENCE             /* R12 a run past its deadline is killed */
#define FENCE 1
#endif
#ifndef CONFIRM_COPY      /* S4c, S5c only after S4b, S5b */
#define CONFIRM_COPY 1
#endif
#ifndef CONFIRM_HOME      /* handed back, given back, sent home: acknowledged only after the confirm */
#define CONFIRM_HOME 1
#endif
#ifndef CONFIRM_FINAL     /* S9 only after S8 */
#define CONFIRM_FINAL 1
#endif
#ifndef EXPIRE            /* a lease that is over takes its copy to the request queue */
#define EXPIRE 1
#endif
#ifndef GIVE_BACK         /* what a runner holds and does not run is sent home */
#define GIVE_BACK 1
#endif

/* ---------------------------------------------------------------------------------- state */

/* A copy is on its way to the broker; in its queue; delivered and unacknowledged; the same, with the
 * acknowledgement on its way; or unacknowledged on a connection of which the broker does not know yet
 * that it is dead. 0: this row is free. */
mtype:place = { FLYING, READY, HELD, ACKED, LIMBO };
#define FREE 0
#define SUSPECT 0
#define CLEAN 1
#define ORIGINAL 2
#define NOTED 3

mtype:place at[COPIES];
bit  hq[COPIES];    /* belongs to a hold queue, else to the request queue */
byte who[COPIES];   /* hq: whose hold queue, 2 + i for that of i's dead instance; else its holder */
byte mark[COPIES];  /* ORIGINAL: never delivered before; CLEAN: given back by who knew all; NOTED: who gave it has said
                       "free", to who hears it, remembers it or reads it in the journal; else a suspect */
bit  newer[COPIES]; /* ours: published last of all copies of its run */
bit  sent[COPIES];  /* ours: its acknowledgement was sent, when a newer one was held */
byte ttl[COPIES];   /* what is left of its lease, counted from the send */
byte ours[COPIES];   /* 1 + i: runner i counts it as a copy of its live run */
byte pub[COPIES];   /* FLYING: 1 + i: runner i waits for the confirm to acknowledge another copy */

/* What a runner does with the task. GIVING: a copy is published to hand back or to send home, GIVEN:
 * it is confirmed. ENDED: the process has exited (S6) and the final is on its way (S7). 0: dead. */
mtype:doing = { IDLE, ASKING, GIVING, GIVEN, RUNNING, ENDED, DRAINING };
#define DEAD 0
mtype:word = { LEASED, MINE, BACK };

mtype:doing st[2];
bit  live[2];       /* a process of the task lives; outlives its runner until the guardian kills it */
bit  up[2];         /* connection C, as the broker sees it; the runner learns of its end any time later */
byte proof[2];      /* the run may live so long by the last proof */
bit  sole[2];       /* the run knows of every copy that exists */
byte doubt[2];      /* lease of a copy of which the run will never learn that it is gone */
byte wait[2];       /* what is left of D */
bit  copied[2];     /* the run has published a copy, or was begun from one */
bit  free[2];       /* it gave back the request, and will say that nobody has another copy */
bit  asks[2];       /* its question is published and not confirmed */
bit  asked[2];      /* the other's question is in the control queue, unread */
mtype:word says[2]; /* its answer is published and not confirmed */
bit  unsaid[2];     /* reconnected, running tasks not announced yet */
mtype:word heard[2]; /* in the control queue: the other's answer, or "I am back and run this" */

byte faults;
bit  done;          /* a final is confirmed (S8) */
bit  calm;          /* see the end */
byte x, y;          /* scratch, 0 between actions */

#define other(i) (1 - (i))
#define room     (at[COPIES - 1] == FREE)
#define fault    (faults < FAULTS && !done && !calm)

#define EACH(statement) x = 0; do :: x < COPIES -> statement; x++ :: else -> break od; x = 0
#if COPIES == 3
#define SUM(p, i) (p(0, i) + p(1, i) + p(2, i))
#elif COPIES == 4
#define SUM(p, i) (p(0, i) + p(1, i) + p(2, i) + p(3, i))
#endif
#define HELD_BY(c, i)  (at[c] == HELD && who[c] == i)
#define ACK_BY(c, i)   (at[c] == ACKED && who[c] == i)
#define OF_RUN(c, i)   (ours[c] == 1 + i)
#define AWAY(c, i)     (ours[c] == 1 + i && !(at[c] == HELD && who[c] == i))
#define NEWER_AWAY(c, i) (AWAY(c, i) && newer[c] && at[c] != FLYING)
#define OLD(c, i)      (ours[c] == 1 + i && ttl[c] <= M)
#define YOUNG(c, i)    (ours[c] == 1 + i && ttl[c] > M)
#define RENEWED(c, i)  (ours[c] == 1 + i && at[c] == FLYING)
#define PARKED(c, i)   (ours[c] == 1 + i && at[c] == HELD && hq[c])
#define ELDER_READY(c, mine)    (ours[c] == mine && !newer[c] && at[c] == READY && hq[c])
#define ELDER_IN_LIMBO(c, mine) (ours[c] == mine && sent[c] && at[c] == LIMBO)
#define RETIRED(c, i)  (!newer[c] && at[c] != ACKED && at[c] != HELD && (sent[c] || !ACK_SENT))
#define NEWER(c, i)    (HELD_BY(c, i) && OF_RUN(c, i) && newer[c])
#define FREED(c, i)    (at[c] == HELD && who[c] == i && mark[c] == NOTED)
#define OFTEN(c, i)    (at[c] == HELD && who[c] == i && (mark[c] == SUSPECT || !SPARE_OFTEN))
#define GIVEN_BACK(c)  (mark[c] == CLEAN || mark[c] == NOTED)
#define ANY(c, i)      (at[c] != FREE)
#define SAFE(c, i)     (at[c] != FREE && at[c] != FLYING)

/* The fence rule: by lease, while every copy that may exist is a lease that has some time left; else by
 * proof. An original has ttl 0. */
#define leased(i) (st[i] == RUNNING && (sole[i] || !KNOWS_ALL) && SUM(OF_RUN, i) > 0 && \
	(OLDEST -> SUM(OLD, i) == 0 : SUM(YOUNG, i) > 0))
#define settled(i) (SUM(ANY, 0) == 1 && SUM(HELD_BY, i) == 1)
#define due(i)    (FENCE && live[i] && proof[i] == 0 && !leased(i))

/* ---------------------------------------------------------------------------------- helpers */

/* Rows are kept sorted, so that states which differ only in the order of rows are one. */
#define KEY(c)  ((((((((at[c] * 2 + hq[c]) * 4 + who[c]) * 4 + mark[c]) * 4 + ttl[c]) * 4 + ours[c]) * 4 + pub[c]) * 2 + newer[c]) * 2 + sent[c])
#define SWAP(f) x = f[y]; f[y] = f[y + 1]; f[y + 1] = x
inline settle()
{
	y = 0;
	do
	:: y + 1 < COPIES && KEY(y) < KEY(y + 1) ->
		SWAP(at); SWAP(hq); SWAP(who); SWAP(mark); SWAP(newer); SWAP(sent); SWAP(ttl); SWAP(ours); SWAP(pub);
		y = (y > 0 -> y - 1 : 0)
	:: y + 1 < COPIES && KEY(y) >= KEY(y + 1) -> y++
	:: else -> break
	od;
	x = 0; y = 0
}

inline publish(to_hq, to_whom, its_mark, lease, of_run, is_newer, waiting)
{
	y = COPIES - 1;
	at[y] = FLYING; hq[y] = to_hq; who[y] = to_whom; mark[y] = its_mark; ttl[y] = lease;
	ours[y] = of_run; newer[y] = is_newer; pub[y] = waiting
}

inline erase(c)
{
	at[c] = FREE; hq[c] = 0; who[c] = 0; mark[c] = 0; ttl[c] = 0; ours[c] = 0; newer[c] = 0; sent[c] = 0;
	pub[c] = 0
}

inline enqueue(c)
{
	at[c] = READY;
	if
	:: !hq[c] -> who[c] = 0; ttl[c] = (ours[c] -> ttl[c] : 0)
	:: else
	fi
}

inline disown(c)
{
	ours[c] = 0; newer[c] = 0; sent[c] = 0; ttl[c] = (hq[c] -> ttl[c] : 0)
}

inline to_request_queue(c, its_mark)
{
	hq[c] = 0; mark[c] = its_mark; enqueue(c)
}

inline knows_not_all(i)
{
	sole[i] = 0; doubt[i] = 0
}

/* A copy of a run is ended, or made its own, by another runner @i: the run cannot know it, and still
 * counts with that copy. */
inline doubt_of_owner(c, i)
{
	if
	:: ours[c] && ours[c] != 1 + i && sole[ours[c] - 1] ->
		y = ours[c] - 1;
		if
		:: ttl[c] <= M -> knows_not_all(y)
		:: ttl[c] > M && (!doubt[y] || ttl[c] < doubt[y]) -> doubt[y] = ttl[c]
		:: else
		fi
	:: else
	fi
}

inline end_run(i)
{
	live[i] = 0; proof[i] = 0; copied[i] = 0; unsaid[i] = 0; knows_not_all(i);
	EACH(if :: OF_RUN(x, i) -> disown(x) :: else fi)
}

/* Later answers have the number of a question that is over. */
inline stop_asking(i)
{
	asks[i] = 0; heard[i] = 0; wait[i] = 0; says[other(i)] = 0
}

inline start(i, knows_all)
{
	assert(!live[0] && !live[1]); /* no two live attempts */
	live[i] = 1; stop_asking(i); st[i] = RUNNING; sole[i] = knows_all;
	/* What the other counted as its own it has lost; it cannot know that nobody has it. */
	EACH(if
	:: HELD_BY(x, i) ->
		if :: OF_RUN(x, other(i)) -> knows_not_all(other(i)) :: else fi;
		ours[x] = 1 + i; newer[x] = 0; sent[x] = 0; ttl[x] = (hq[x] -> ttl[x] : 0)
	:: else
	fi)
}

inline ask(i)
{
	st[i] = ASKING; heard[i] = 0; asks[i] = ASK; wait[i] = WAIT * D;
	says[other(i)] = (NUMBERED -> 0 : says[other(i)])
}

inline another_copy(i)
{
	if :: NUMBERED -> ask(i) :: else fi
}

inline tell(i, what)
{
	if :: st[i] == ASKING && up[i] -> heard[i] = what :: else fi
}

inline send_home(i)
{
	st[i] = GIVING; publish(0, 0, (SUSPECT_HOME -> SUSPECT : CLEAN), 0, 0, 0, 1 + i)
}

inline forget_confirm(i)
{
	EACH(if :: pub[x] == 1 + i -> pub[x] = 0 :: else fi)
}

inline lose_deliveries(i)
{
	free[i] = (FREE_ACKED -> 0 : free[i]);
	EACH(if
	:: HELD_BY(x, i) || ACK_BY(x, i) ->
		at[x] = LIMBO; mark[x] = (GIVEN_BACK(x) && !FREE_FIRST -> mark[x] : SUSPECT);
		if
		:: OF_RUN(x, i) && !hq[x] && copied[i] ->
			if :: ORIGINAL_LOST -> knows_not_all(i) :: else fi;
			disown(x)
		:: else
		fi
	:: else
	fi)
}

inline lose_connection(i)
{
	up[i] = 0; asked[i] = 0; unsaid[i] = 0; heard[i] = 0; lose_deliveries(i)
}

inline die(i)
{
	free[i] = 0;
	lose_connection(i);
	st[i] = DEAD; wait[i] = 0; proof[i] = (live[i] -> proof[i] : 0); asks[i] = 0; copied[i] = 0; knows_not_all(i);
	EACH(if :: OF_RUN(x, i) -> disown(x) :: else fi;
		if :: hq[x] && who[x] == i -> who[x] = 2 + i :: else fi);
	forget_confirm(i)
}

/* ---------------------------------------------------------------------------------- the broker */

inline broker_takes(c) /* S4b, S5b, and the confirm of what is handed back or sent home */
{
	at[c] == FLYING ->
	if :: pub[c] -> st[pub[c] - 1] = GIVEN; pub[c] = 0 :: else fi;
	enqueue(c)
}

inline broker_takes_ack(c) /* the copy is retired at the next ping, for the model at once */
{
	at[c] == ACKED ->
	doubt_of_owner(c, who[c]);
	erase(c);
	assert(SUM(SAFE, 0) > 0) /* no loss */
}

/* The connection is known to be dead, at any time after it is. What is requeued together keeps its order. */
inline broker_requeues(c)
{
	at[c] == LIMBO && !(newer[c] && SUM(ELDER_IN_LIMBO, ours[c])) -> enqueue(c)
}

#define lease_is_over(c) (EXPIRE && at[c] == READY && hq[c] && ttl[c] <= J && (who[c] >= 2 || !up[who[c]]))
inline lease_ends(c)
{
	lease_is_over(c) -> to_request_queue(c, SUSPECT)
}

/* ---------------------------------------------------------------------------------- deliveries */

/* Who has lost what it waits with is told so before the next delivery. */
#define waits(i) (st[i] == ASKING && SUM(HELD_BY, i) > 0)
#define takes(i) (up[i] && (st[i] == IDLE || waits(i) || st[i] == RUNNING))

inline S0_request(c, i) /* S1, S2, S3 are the same step for all others */
{
	at[c] == READY && !hq[c] && takes(i) ->
	at[c] = HELD; who[c] = i;
	if
	:: st[i] == RUNNING -> /* adopted */
		if :: (ADOPTED && copied[i]) || (SPARE_ADOPTED && !PARK) -> knows_not_all(i) :: else fi;
		doubt_of_owner(c, i);
		ours[c] = 1 + i; newer[c] = 0; sent[c] = 0; ttl[c] = 0
	:: st[i] == IDLE && (mark[c] == ORIGINAL || (GIVEN_BACK(c) && !CLEAN_WAITS)) -> start(i, mark[c] == ORIGINAL)
	:: st[i] == IDLE && (mark[c] == SUSPECT || (GIVEN_BACK(c) && CLEAN_WAITS)) -> says[other(i)] = 0; ask(i)
	:: st[i] == ASKING -> another_copy(i)
	:: else
	fi;
	mark[c] = (st[i] == ASKING && GIVEN_BACK(c) -> mark[c] : SUSPECT)
}

inline hold_copy_comes(c, i) /* a renewal, what was handed back, or what comes home after a reconnect */
{
	at[c] == READY && hq[c] && who[c] == i && up[i] && !(newer[c] && SUM(ELDER_READY, ours[c])) &&
	(waits(i) || st[i] == RUNNING || st[i] == DRAINING || (st[i] == IDLE && room)) ->
	at[c] = HELD;
	if
	:: st[i] == RUNNING || st[i] == DRAINING ->
		if :: !OF_RUN(c, i) -> knows_not_all(i) :: else fi;
		if
		:: newer[c] ->
			EACH(if
			:: AWAY(x, i) && RETIRED(x, i) ->
				if :: IN_TERM && ttl[x] <= J -> knows_not_all(i) :: else fi;
				disown(x)
			/* The code looks at its own clock; who has the older one by now does not matter. */
			:: AWAY(x, i) && !newer[x] && !RETIRED(x, i) && who[x] != i && IN_TERM && ttl[x] <= J ->
				knows_not_all(i)
			:: else
			fi);
			if :: IN_TERM && doubt[i] && doubt[i] <= J -> knows_not_all(i) :: else fi
		:: else -> /* the code waits for the newer one, and drops this */
			if :: doubt[i] || SUM(NEWER_AWAY, i) > 0 -> knows_not_all(i) :: else fi
		fi;
		ours[c] = 1 + i; sent[c] = 0
	:: st[i] == IDLE -> send_home(i)
	:: st[i] == ASKING -> another_copy(i)
	fi
}

inline recover(c) /* the next instance on a host finds the hold queue of the dead one */
{
	at[c] == READY && hq[c] && who[c] >= 2 && up[who[c] - 2] -> to_request_queue(c, (SUSPECT_RECOVER -> SUSPECT : CLEAN))
}

/* ---------------------------------------------------------------------------------- one copy */

inline S4c_S5c_ack_surplus(c) /* of several copies all but one: any, so also the older ones */
{
	at[c] == HELD && up[who[c]] && st[who[c]] != ENDED && (SUM(HELD_BY, who[c]) > 1 ||
		(!CONFIRM_COPY && ours[c] == 1 + who[c] && SUM(RENEWED, who[c]) > 0)) ->
	at[c] = ACKED; sent[c] = (hq[c] && ours[c] && !newer[c] && SUM(NEWER, who[c]) > 0)
}

inline S9_too_early(c) /* S9 itself changes nothing any more: the model ends with S8 */
{
	!CONFIRM_FINAL && at[c] == HELD && up[who[c]] && st[who[c]] == ENDED -> at[c] = ACKED
}

inline give_back(c, i) /* held by who does not run it: a run that was killed, a drain that is over */
{
	GIVE_BACK && HELD_BY(c, i) && up[i] && st[i] == IDLE && room && SUM(HELD_BY, i) == 1 && SUM(ACK_BY, i) == 0 ->
	send_home(i)
}

/* ---------------------------------------------------------------------------------- a runner */

inline reconnect(i)
{
	!up[i] && (st[i] == IDLE || st[i] == RUNNING || st[i] == ENDED || st[i] == DRAINING) ->
	up[i] = 1; unsaid[i] = (st[i] == RUNNING || st[i] == ENDED)
}

/* A ping is a proof if it shows that whoever asks for the task is answered; with ack: hold, that the
 * request is held. It counts from its send, so it is least safe when it takes no time. */
#define may_prove(i) (up[i] && (!OWED || (!asked[i] && !says[i])) && (!ANNOUNCE || !unsaid[i]) && \
	(PARK || SUM(HELD_BY, i) > 0))
inline ping(i)
{
	live[i] && proof[i] < F && may_prove(i) -> proof[i] = F
}

inline announce(i)
{
	up[i] && unsaid[i] && (PARK || SUM(HELD_BY, i) > 0) ->
	unsaid[i] = 0;
	if :: ANNOUNCE && !heard[other(i)] -> tell(other(i), BACK) :: else fi
}

#define answers(i) (st[i] == RUNNING || st[i] == ENDED || st[i] == DRAINING)
inline answer(i)
{
	up[i] && asked[i] && !says[i] && !heard[i] ->
	asked[i] = 0;
	if
	:: answers(i) && (SUM(HELD_BY, i) > 0 || PARK) ->
		says[i] = (SUM(HELD_BY, i) > 0 || !HAND_BACK -> LEASED : MINE);
		if :: ANSWERED -> knows_not_all(i) :: else fi
	:: answers(i) && SUM(HELD_BY, i) == 0 && !PARK -> unsaid[i] = BACK_AGAIN_HELD
	:: TIE && st[i] == ASKING && i == 0 && waits(i) ->
		says[0] = LEASED;
		if :: TIE_AGAIN -> ask(0) :: else fi
	:: TIE_HIGHER && st[i] == ASKING && i == 1 -> ask(1)
	:: else
	fi
}

inline answer_arrives(i)
{
	says[i] -> tell(other(i), says[i]); says[i] = 0
}

inline question_arrives(i) /* and D begins. What one runner publishes arrives in its order. */
{
	asks[i] && !says[i] ->
	asks[i] = 0; wait[i] = (CONFIRM_QUESTION -> WAIT * D : wait[i]);
	if :: up[other(i)] -> asked[other(i)] = 1 :: else fi
}

inline ask_again(i)
{
	st[i] == ASKING && heard[i] == BACK ->
	if :: BACK_AGAIN -> ask(i) :: else -> heard[i] = 0 fi
}

inline drop(i) /* it is with another */
{
	st[i] == ASKING && heard[i] == LEASED && up[i] ->
	stop_asking(i); st[i] = IDLE;
	EACH(if :: HELD_BY(x, i) -> at[x] = ACKED :: else fi)
}

inline hand_back(i)
{
	st[i] == ASKING && heard[i] == MINE && room && SUM(ACK_BY, i) == 0 ->
	stop_asking(i); st[i] = GIVING;
	publish(1, (st[other(i)] == DEAD -> 2 + other(i) : other(i)), SUSPECT, L, 0, 0, 1 + i)
}

inline given(i) /* all that it holds of the task is acknowledged */
{
	up[i] && (st[i] == GIVEN || (!CONFIRM_HOME && st[i] == GIVING)) ->
	st[i] = IDLE; forget_confirm(i);
	EACH(if :: HELD_BY(x, i) -> at[x] = ACKED :: else fi)
}

inline nobody_answered(i)
{
	st[i] == ASKING && wait[i] == 0 && !heard[i] && (!asks[i] || !CONFIRM_QUESTION) &&
		(!PING || (up[i] && !asked[i] && waits(i))) ->
	proof[i] = (PING -> F : proof[i]);
	start(i, 0)
}

inline start_free(i) /* any time after it was said, whoever has the copy: also the next life of who gave it */
{
	st[i] == ASKING && up[i] && SUM(FREED, i) > 0 -> proof[i] = F; start(i, 1)
}

inline S4a_S5a_renew(i) /* only when everything before is retired */
{
	PARK && !calm && up[i] && (st[i] == RUNNING || st[i] == DRAINING) && room && SUM(OF_RUN, i) == 1 && SUM(AWAY, i) == 0 ->
	EACH(newer[x] = (OF_RUN(x, i) -> 0 : newer[x]));
	copied[i] = 1; publish(1, i, SUSPECT, L, 1 + i, 1, 0)
}

inline spare(i) /* ack: hold: a copy that begins anew, of what a quorum queue delivered often: so it is not clean */
{
	!PARK && !calm && up[i] && (st[i] == RUNNING || st[i] == ASKING) && room && SUM(HELD_BY, i) == 1 &&
	SUM(OFTEN, i) == 1 ->
	if :: SPREAD -> knows_not_all(i) :: else fi;
	publish(0, 0, SUSPECT, 0, 0, 0, 0)
}

inline S6_S7(i)
{
	st[i] == RUNNING && (!calm || settled(i) || !room) -> end_run(i); st[i] = ENDED
}

inline S8(i) /* the story ends: what comes later is in every respect like a crash at S6 */
{
	st[i] == ENDED ->
	done = 1; faults = 0;
	die(0); end_run(0); die(1); end_run(1);
	EACH(erase(x))
}

inline fence(i) /* with C alive it strikes only who is slow, and slowness counts as a fault */
{
	(due(i) || (live[i] && proof[i] == 0 && !up[i])) &&
		(!up[i] || fault || (!PARK && SUM(HELD_BY, i) == 0)) ->
	if :: up[i] && (PARK || SUM(HELD_BY, i) > 0) -> faults++ :: else fi;
	end_run(i);
	if :: st[i] != DEAD -> st[i] = IDLE :: else fi
}

inline drain(i)
{
	st[i] == RUNNING && fault ->
	faults++; st[i] = DRAINING;
	if :: FREE_KILLED -> live[i] = 0; proof[i] = 0 :: else fi
}

inline drained(i) /* a copy is published; what is held is acknowledged after its confirm: given() */
{
	st[i] == DRAINING && up[i] && room && SUM(HELD_BY, i) == 1 &&
	(!FREE_ALL || (sole[i] && !doubt[i] && SUM(OF_RUN, i) == 1)) ->
	if :: FREE_KILLED -> end_run(i) :: else -> EACH(if :: OF_RUN(x, i) -> disown(x) :: else fi) fi;
	st[i] = GIVING; free[i] = 1; publish(0, 0, CLEAN, 0, 0, 0, 1 + i)
}

inline say_free(i) /* and note it: it is true from now on, so it does not matter when it is heard */
{
	free[i] && up[i] && ((st[i] != GIVING && st[i] != GIVEN && SUM(ACK_BY, i) == 0) || !FREE_ACKED) ->
	free[i] = 0;
	EACH(if :: mark[x] == CLEAN -> mark[x] = NOTED :: else fi)
}

inline drain_fails(i) /* else what it holds is sent home as a suspect */
{
	st[i] == DRAINING -> end_run(i); st[i] = IDLE
}

/* ---------------------------------------------------------------------------------- faults */

inline cut(i)
{
	up[i] && fault -> faults++; lose_connection(i)
}

inline channel_closes(i) /* an acknowledgement came too late (406): deliveries are lost, control is not */
{
	up[i] && fault && SUM(HELD_BY, i) + SUM(ACK_BY, i) > 0 -> faults++; lose_deliveries(i)
}

inline notice(i) /* … any time later, and before it connects again: what it waited with or gives back is not its own */
{
	(st[i] == ASKING || st[i] == GIVING || st[i] == GIVEN) && SUM(HELD_BY, i) == 0 ->
	stop_asking(i); st[i] = IDLE; unsaid[i] = 0; proof[i] = 0; forget_confirm(i)
}

inline broker_restarts()
{
	up[0] && up[1] && fault -> faults++; lose_connection(0); lose_connection(1)
}

inline crash(i) /* at any step; what it published last arrives */
{
	st[i] != DEAD && fault -> faults++; die(i)
}

inline crash_and_lose(i) /* … or does not */
{
	st[i] != DEAD && fault && SUM(SAFE, 0) > 0 ->
	faults++;
	EACH(if :: at[x] == FLYING && (pub[x] == 1 + i || OF_RUN(x, i)) -> erase(x) :: else fi);
	says[i] = 0; die(i)
}

inline guardian(i)
{
	live[i] && st[i] == DEAD -> live[i] = 0; proof[i] = 0
}

inline restart(i) /* after the left-over processes are killed */
{
	st[i] == DEAD && !live[i] && !done && (!calm || st[other(i)] == DEAD) -> st[i] = IDLE; up[i] = 1
}

inline publish_twice(c) /* the confirm was lost with P, so the copy is published again */
{
	at[c] == FLYING && fault && room ->
	faults++;
	if :: mark[c] == CLEAN && FREE_ONCE -> free[0] = 0; free[1] = 0 :: else fi;
	publish(hq[c], who[c], mark[c], ttl[c], ours[c], newer[c], 0)
}

inline recover_twice(c) /* a recovery dies between confirm and acknowledgement */
{
	at[c] == READY && hq[c] && who[c] >= 2 && up[who[c] - 2] && fault && room ->
	faults++; publish(0, 0, (SUSPECT_RECOVER -> SUSPECT : CLEAN), 0, 0, 0, 0)
}

inline lease_ends_twice(c) /* at-least-once dead-lettering: the broker, too, publishes twice */
{
	lease_is_over(c) && fault && room ->
	faults++; to_request_queue(c, SUSPECT); publish(0, 0, SUSPECT, 0, 0, 0, 0)
}

/* ---------------------------------------------------------------------------------- time */

#define LESS(v)  v = (v > 0 -> v - 1 : 0)
#define DOUBT(i) if :: doubt[i] -> doubt[i]--; if :: doubt[i] <= M -> knows_not_all(i) :: else fi :: else fi

inline tick() /* not before the fence has done its work */
{
	!done && !due(0) && !due(1) ->
	EACH(ttl[x] = (ttl[x] > M + 1 -> ttl[x] - 1 : 0); if :: !ours[x] && ttl[x] <= J -> ttl[x] = 0 :: else fi);
	DOUBT(0); DOUBT(1);
	LESS(proof[0]); LESS(proof[1]); LESS(wait[0]); LESS(wait[1])
}

/* ---------------------------------------------------------------------------------- processes */

#ifdef SHOW
#define DO_IT(action) d_step { action; printf(#action); printf("\n"); settle(); picture() }
#else
#define DO_IT(action) d_step { action; settle() }
#endif
#define STEP(action) :: DO_IT(action)
inline picture() /* after each step of a trail: ./verify --trail */
{
	EACH(if
	:: at[x] != FREE ->
		printf("\t%e hold%d who%d mark%d ttl%d run%d newer%d sent%d\n", at[x], hq[x], who[x], mark[x], ttl[x], ours[x], newer[x], sent[x])
	:: else
	fi);
	printf("\t0: %e live%d up%d proof%d sole%d wait%d asks%d asked%d says %e heard %e unsaid%d\n", st[0], live[0], up[0], proof[0], sole[0], wait[0], asks[0], asked[0], says[0], heard[0], unsaid[0]);
	printf("\t1: %e live%d up%d proof%d sole%d wait%d asks%d asked%d says %e heard %e unsaid%d\n", st[1], live[1], up[1], proof[1], sole[1], wait[1], asks[1], asked[1], says[1], heard[1], unsaid[1])
}

#define COPY_ACTIONS(DO) \
	DO(broker_takes(c)) DO(broker_takes_ack(c)) DO(broker_requeues(c)) DO(lease_ends(c)) \
	DO(S0_request(c, 0)) DO(S0_request(c, 1)) DO(hold_copy_comes(c, 0)) DO(hold_copy_comes(c, 1)) \
	DO(recover(c)) DO(S4c_S5c_ack_surplus(c)) DO(S9_too_early(c)) DO(give_back(c, 0)) DO(give_back(c, 1)) \
	DO(publish_twice(c)) DO(recover_twice(c)) DO(lease_ends_twice(c))

#define RUNNER_ACTIONS(DO) \
	DO(notice(i)) DO(reconnect(i)) DO(announce(i)) DO(answer(i)) DO(ping(i)) DO(fence(i)) DO(guardian(i)) DO(restart(i)) \
	DO(question_arrives(i)) DO(answer_arrives(i)) DO(drop(i)) DO(start_free(i)) DO(say_free(i)) DO(ask_again(i)) DO(hand_back(i)) DO(given(i)) DO(nobody_answered(i)) \
	DO(drained(i)) DO(drain_fails(i)) DO(S6_S7(i)) DO(S8(i)) DO(S4a_S5a_renew(i)) DO(spare(i)) \
	DO(drain(i)) DO(cut(i)) DO(channel_closes(i)) DO(crash(i)) DO(crash_and_lose(i))

#define WORLD_ACTIONS(DO) DO(tick()) DO(broker_restarts())

proctype copy(byte c)
{
end:	do
	COPY_ACTIONS(STEP)
	od
}

proctype runner(byte i)
{
end:	do
	RUNNER_ACTIONS(STEP)
	od
}

proctype world()
{
end:	do
	WORLD_ACTIONS(STEP)
	od
}

/* Calm: from any state that was reached, no more faults come, and all actions are tried in turn, ROUNDS
 * times. A dead runner stays dead unless both are. Then the final must be there; and a run ends only when
 * one copy is left of its request, so the others must be gone before. */
#ifdef CALM
#ifndef ROUNDS
#define ROUNDS 20
#endif
#define TRY(action) if :: DO_IT(action) :: else fi;

proctype in_calm()
{
	byte round, k, c, i;
	atomic {
		!done -> calm = 1;
		do
		:: round < ROUNDS && !done ->
			do :: k < 2 * COPIES -> c = k % COPIES; COPY_ACTIONS(TRY) k++ :: else -> break od;
			do :: i < 2 -> RUNNER_ACTIONS(TRY) i++ :: else -> break od;
			WORLD_ACTIONS(TRY)
			k = 0; i = 0; round++
		:: else -> break
		od;
		assert(done) /* the request comes to its end */
	}
}
#endif

init {
	atomic {
		at[0] = READY; mark[0] = ORIGINAL;
		st[0] = IDLE; st[1] = IDLE; up[0] = 1; up[1] = 1;
		run world(); run runner(0); run runner(1);
		y = 0;
		do :: y < COPIES -> run copy(y); y++ :: else -> break od;
#ifdef CALM
		run in_calm();
#endif
		y = 0
	}
}
