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

/* The rules. Setting one to 0 must break a property: ./verify does so with each. */
#ifndef FENCE           /* a run without proof and without lease is killed */
#define FENCE 1
#endif
#ifndef OLDEST          /* the lease ends with the oldest copy that is not retired, not with the newest */
#define OLDEST 1
#endif
#ifndef SOLE            /* only a run that knows of all copies may live by its lease */
#define SOLE 1
#endif
#ifndef ANSWERED        /* who has answered "mine" does not know all copies any more */
#define ANSWERED 1
#endif
#ifndef OWED            /* an answer that is owed stops the proof */
#define OWED 1
#endif
#ifndef ANNOUNCE        /* after a reconnect no proof before the running tasks are announced */
#define ANNOUNCE 1
#endif
#ifndef ASK             /* a suspect asks who has it … */
#define ASK 1
#endif
#ifndef WAIT            /* … waits D for an answer … */
#define WAIT 1
#endif
#ifndef PING            /* … and starts when a ping sent after D is answered, nothing else being unread */
#define PING 1
#endif
#ifndef TIE             /* of two that wait the lower instance keeps the task … */
#define TIE 1
#endif
#ifndef ASK_AGAIN       /* … and asks again */
#define ASK_AGAIN 1
#endif
#ifndef CONFIRM_COPY    /* S4c, S5c only after S4b, S5b */
#define CONFIRM_COPY 1
#endif
#ifndef CONFIRM_HOME    /* handed back, sent home: acknowledged only after the confirm */
#define CONFIRM_HOME 1
#endif
#ifndef CONFIRM_FINAL   /* S9 only after S8 */
#define CONFIRM_FINAL 1
#endif
#ifndef SUSPECT_HOME    /* a copy sent home is a suspect */
#define SUSPECT_HOME 1
#endif
#ifndef SUSPECT_RECOVER /* a copy found in a dead instance's hold queue is a suspect */
#define SUSPECT_RECOVER 1
#endif

#ifndef EXPIRE          /* a lease that has ended takes its copy to the request queue */
#define EXPIRE 1
#endif
#ifndef GIVE_BACK       /* what a runner holds and does not run is sent home */
#define GIVE_BACK 1
#endif

/* ---------------------------------------------------------------------------------- state */

/* A copy is on its way to the broker; in its queue; delivered and unacknowledged; the same, with the
 * acknowledgement on its way; or unacknowledged on a connection of which the broker does not know yet
 * that it is dead. 0: this row is free. */
mtype:place = { FLYING, READY, HELD, ACKED, LIMBO };
#define FREE 0

mtype:place at[COPIES];
bit  hq[COPIES];    /* belongs to a hold queue, else to the request queue */
byte who[COPIES];   /* hq: whose hold queue, 2 + i for that of i's dead instance; else its holder */
bit  fresh[COPIES]; /* may be started at once: never delivered before, or rejected by who knew all */
byte ttl[COPIES];   /* what is left of its lease, counted from the send */
byte ours[COPIES];   /* 1 + i: runner i counts it as a copy of its live run */
byte pub[COPIES];   /* FLYING: 1 + i: runner i waits for the confirm to acknowledge another copy */

/* What a runner does with the task. GIVING: a copy is published to hand back or to send home, GIVEN:
 * it is confirmed. ENDED: the process has exited (S6) and the final is on its way (S7). 0: dead. */
mtype:doing = { IDLE, ASKING, GIVING, GIVEN, RUNNING, ENDED, DRAINING };
#define DEAD 0
mtype:heard = { MINE, BACK };

mtype:doing st[2];
bit  live[2];       /* a process of the task lives; outlives its runner until the guardian kills it */
bit  up[2];         /* connection C, as the broker sees it; the runner learns of its end any time later */
byte proof[2];      /* the run may live so long by the last proof */
bit  sole[2];       /* the run knows of every copy that exists */
byte doubt[2];      /* lease of a copy of which the run will never learn that it is gone */
byte wait[2];       /* what is left of D */
bit  asked[2];      /* the other's question is unread, or the answer to it not confirmed */
bit  unsaid[2];     /* reconnected, running tasks not announced yet */
mtype:heard heard[2]; /* in the control queue: the other said "mine", or "I am back and run this" */

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
#define OLD(c, i)      (ours[c] == 1 + i && ttl[c] <= M)
#define YOUNG(c, i)    (ours[c] == 1 + i && ttl[c] > M)
#define RENEWED(c, i)  (ours[c] == 1 + i && at[c] == FLYING)
#define PARKED(c, i)   (ours[c] == 1 + i && at[c] == HELD && hq[c])
#define ANY(c, i)      (at[c] != FREE)
#define SAFE(c, i)     (at[c] != FREE && at[c] != FLYING)

/* The fence rule: by lease, while every copy that may exist is a lease that has some time left; else by
 * proof. An original has ttl 0. */
#define leased(i) (st[i] == RUNNING && (sole[i] || !SOLE) && SUM(OF_RUN, i) > 0 && \
	(OLDEST -> SUM(OLD, i) == 0 : SUM(YOUNG, i) > 0))
#define due(i)    (FENCE && live[i] && proof[i] == 0 && !leased(i))

/* ---------------------------------------------------------------------------------- helpers */

/* Rows are kept sorted, so that states which differ only in the order of rows are one. */
#define KEY(c)  ((((((at[c] * 2 + hq[c]) * 4 + who[c]) * 2 + fresh[c]) * 4 + ttl[c]) * 4 + ours[c]) * 4 + pub[c])
#define SWAP(f) x = f[y]; f[y] = f[y + 1]; f[y + 1] = x
inline settle()
{
	y = 0;
	do
	:: y + 1 < COPIES && KEY(y) < KEY(y + 1) ->
		SWAP(at); SWAP(hq); SWAP(who); SWAP(fresh); SWAP(ttl); SWAP(ours); SWAP(pub);
		y = (y > 0 -> y - 1 : 0)
	:: y + 1 < COPIES && KEY(y) >= KEY(y + 1) -> y++
	:: else -> break
	od;
	x = 0; y = 0
}

inline publish(to_hq, to_whom, is_fresh, lease, of_run, waiting)
{
	y = COPIES - 1;
	at[y] = FLYING; hq[y] = to_hq; who[y] = to_whom; fresh[y] = is_fresh; ttl[y] = lease;
	ours[y] = of_run; pub[y] = waiting
}

inline erase(c)
{
	at[c] = FREE; hq[c] = 0; who[c] = 0; fresh[c] = 0; ttl[c] = 0; ours[c] = 0; pub[c] = 0
}

inline enqueue(c)
{
	at[c] = READY;
	if
	:: !hq[c] -> who[c] = 0; ttl[c] = (ours[c] -> ttl[c] : 0)
	:: else
	fi
}

inline to_request_queue(c, is_fresh)
{
	hq[c] = 0; fresh[c] = is_fresh; enqueue(c)
}

inline knows_not_all(i)
{
	sole[i] = 0; doubt[i] = 0
}

inline end_run(i)
{
	live[i] = 0; proof[i] = 0; knows_not_all(i);
	EACH(if :: OF_RUN(x, i) -> ours[x] = 0; ttl[x] = (hq[x] -> ttl[x] : 0) :: else fi)
}

inline start(i, knows_all)
{
	assert(!live[0] && !live[1]); /* no two live attempts */
	live[i] = 1; st[i] = RUNNING; sole[i] = knows_all; wait[i] = 0; heard[i] = 0;
	/* What the other counted as its own it has lost; it cannot know that nobody has it. */
	EACH(if
	:: HELD_BY(x, i) ->
		if :: OF_RUN(x, other(i)) -> knows_not_all(other(i)) :: else fi;
		ours[x] = 1 + i; ttl[x] = (hq[x] -> ttl[x] : 0)
	:: else
	fi)
}

/* The question is routed to the other's control queue, if it has one now. D counts from the confirm. */
inline ask(i)
{
	st[i] = ASKING; heard[i] = 0; wait[i] = WAIT * D;
	if :: ASK && up[other(i)] -> asked[other(i)] = 1 :: else fi
}

inline tell(i, what)
{
	if :: st[i] == ASKING && up[i] -> heard[i] = what :: else fi
}

inline send_home(i)
{
	st[i] = GIVING; publish(0, 0, !SUSPECT_HOME, 0, 0, 1 + i)
}

inline forget_confirm(i)
{
	EACH(if :: pub[x] == 1 + i -> pub[x] = 0 :: else fi)
}

inline lose_connection(i)
{
	up[i] = 0; asked[i] = 0; unsaid[i] = 0; heard[i] = 0;
	EACH(if :: HELD_BY(x, i) || ACK_BY(x, i) -> at[x] = LIMBO; fresh[x] = 0 :: else fi)
}

inline die(i)
{
	lose_connection(i);
	st[i] = DEAD; wait[i] = 0; knows_not_all(i);
	EACH(if :: OF_RUN(x, i) -> ours[x] = 0; ttl[x] = (hq[x] -> ttl[x] : 0) :: else fi;
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
	if
	:: ours[c] && ours[c] != 1 + who[c] && sole[ours[c] - 1] ->
		/* Another runner has ended a copy of this run, which cannot know it: its fence still
		 * counts with that copy. */
		y = ours[c] - 1;
		if
		:: ttl[c] <= M -> knows_not_all(y)
		:: ttl[c] > M && (!doubt[y] || ttl[c] < doubt[y]) -> doubt[y] = ttl[c]
		:: else
		fi
	:: else
	fi;
	erase(c);
	assert(SUM(SAFE, 0) > 0) /* no loss */
}

inline broker_requeues(c) /* the connection is known to be dead, at any time after it is */
{
	at[c] == LIMBO -> enqueue(c)
}

inline lease_ends(c)
{
	EXPIRE && at[c] == READY && hq[c] && ttl[c] <= J && (who[c] >= 2 || !up[who[c]]) -> to_request_queue(c, 0)
}

/* ---------------------------------------------------------------------------------- deliveries */

#define takes(i) (up[i] && (st[i] == IDLE || st[i] == ASKING || st[i] == RUNNING))

inline S0_request(c, i)
{
	at[c] == READY && !hq[c] && takes(i) ->
	at[c] = HELD; who[c] = i;
	if
	:: st[i] == RUNNING -> /* adopted */
		if :: !OF_RUN(c, i) -> knows_not_all(i) :: else fi;
		ours[c] = 1 + i; ttl[c] = 0
	:: st[i] == IDLE && fresh[c] -> start(i, 1) /* S1, S2, S3 */
	:: st[i] == IDLE && !fresh[c] -> ask(i)
	:: else
	fi;
	fresh[c] = 0
}

inline hold_copy_comes(c, i) /* a renewal, what was handed back, or what comes home after a reconnect */
{
	at[c] == READY && hq[c] && who[c] == i && up[i] &&
	(st[i] == ASKING || st[i] == RUNNING || st[i] == DRAINING || (st[i] == IDLE && room)) ->
	at[c] = HELD;
	if
	:: st[i] == RUNNING || st[i] == DRAINING ->
		if :: !OF_RUN(c, i) -> knows_not_all(i) :: else fi;
		ours[c] = 1 + i
	:: st[i] == IDLE -> send_home(i)
	:: else
	fi
}

inline recover(c) /* the next instance on a host finds the hold queue of the dead one */
{
	at[c] == READY && hq[c] && who[c] >= 2 && up[who[c] - 2] -> to_request_queue(c, !SUSPECT_RECOVER)
}

/* ---------------------------------------------------------------------------------- one copy */

inline S4c_S5c_ack_surplus(c) /* of several copies all but one: any, so also the older ones */
{
	at[c] == HELD && up[who[c]] && st[who[c]] != ENDED && (SUM(HELD_BY, who[c]) > 1 ||
		(!CONFIRM_COPY && ours[c] == 1 + who[c] && SUM(RENEWED, who[c]) > 0)) ->
	at[c] = ACKED
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
	!up[i] && st[i] != DEAD && !done ->
	up[i] = 1; unsaid[i] = (st[i] == RUNNING || st[i] == ENDED);
	if /* what it waited with or gave back is not its own any more */
	:: st[i] == ASKING || st[i] == GIVING || st[i] == GIVEN -> st[i] = IDLE; wait[i] = 0; forget_confirm(i)
	:: else
	fi
}

inline ping(i) /* counts from its send, so it is least safe when it takes no time */
{
	live[i] && up[i] && proof[i] < F && (!asked[i] || !OWED) && (!unsaid[i] || !ANNOUNCE) -> proof[i] = F
}

inline announce(i)
{
	up[i] && unsaid[i] ->
	unsaid[i] = 0;
	if :: ANNOUNCE && !heard[other(i)] -> tell(other(i), BACK) :: else fi
}

inline answer(i) /* the question is read, and the broker has confirmed the answer */
{
	up[i] && asked[i] ->
	asked[i] = 0;
	if
	:: st[i] == RUNNING || st[i] == ENDED ->
		if :: ANSWERED -> knows_not_all(i) :: else fi;
		tell(other(i), MINE)
	:: TIE && st[i] == ASKING && i == 0 ->
		tell(1, MINE);
		if :: ASK_AGAIN -> ask(0) :: else fi
	:: TIE && st[i] == ASKING && i == 1 -> heard[1] = MINE
	:: else
	fi
}

inline ask_again(i)
{
	st[i] == ASKING && heard[i] == BACK -> ask(i)
}

inline hand_back(i)
{
	st[i] == ASKING && heard[i] == MINE && room && SUM(ACK_BY, i) == 0 ->
	heard[i] = 0; wait[i] = 0; st[i] = GIVING;
	publish(1, (st[other(i)] == DEAD -> 2 + other(i) : other(i)), 0, L, 0, 1 + i)
}

inline given(i) /* all that it holds of the task is acknowledged */
{
	up[i] && (st[i] == GIVEN || (!CONFIRM_HOME && st[i] == GIVING)) ->
	st[i] = IDLE; forget_confirm(i);
	EACH(if :: HELD_BY(x, i) -> at[x] = ACKED :: else fi)
}

inline nobody_answered(i)
{
	st[i] == ASKING && wait[i] == 0 && !heard[i] && (!PING || (up[i] && !asked[i])) ->
	proof[i] = (PING -> F : proof[i]);
	start(i, 0)
}

inline S4a_S5a_renew(i) /* only when everything before is retired */
{
	up[i] && (st[i] == RUNNING || st[i] == DRAINING) && room && SUM(OF_RUN, i) == 1 && SUM(AWAY, i) == 0 ->
	publish(1, i, 0, L, 1 + i, 0)
}

inline S6_S7(i)
{
	st[i] == RUNNING && (!calm || (SUM(ANY, 0) == 1 && SUM(HELD_BY, i) == 1)) -> end_run(i); st[i] = ENDED
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
	due(i) && (!up[i] || fault) ->
	if :: up[i] -> faults++ :: else fi;
	end_run(i);
	if :: st[i] != DEAD -> st[i] = IDLE :: else fi
}

inline drain(i)
{
	st[i] == RUNNING && fault -> faults++; live[i] = 0; proof[i] = 0; st[i] = DRAINING
}

inline drained(i) /* a sole copy in the hold queue: rejected, and the broker's x-death says so */
{
	st[i] == DRAINING && up[i] && sole[i] && SUM(OF_RUN, i) == 1 && SUM(PARKED, i) == 1 ->
	EACH(if :: OF_RUN(x, i) -> ours[x] = 0; to_request_queue(x, 1) :: else fi);
	st[i] = IDLE; knows_not_all(i)
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
	die(i)
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
	faults++; publish(hq[c], who[c], fresh[c], ttl[c], ours[c], 0)
}

inline recover_twice(c) /* a recovery dies between confirm and acknowledgement */
{
	at[c] == READY && hq[c] && who[c] >= 2 && up[who[c] - 2] && fault && room ->
	faults++; publish(0, 0, !SUSPECT_RECOVER, 0, 0, 0)
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
#define STEP(action) :: d_step { action; printf(#action); printf("\n"); settle(); picture() }
#else
#define STEP(action) :: d_step { action; settle() }
#endif
inline picture() /* after each step of a trail: ./verify --trail */
{
	EACH(if
	:: at[x] != FREE ->
		printf("\t%e hold%d who%d fresh%d ttl%d run%d\n", at[x], hq[x], who[x], fresh[x], ttl[x], ours[x])
	:: else
	fi);
	printf("\t0: %e live%d up%d proof%d sole%d wait%d\n", st[0], live[0], up[0], proof[0], sole[0], wait[0]);
	printf("\t1: %e live%d up%d proof%d sole%d wait%d\n", st[1], live[1], up[1], proof[1], sole[1], wait[1])
}

#define COPY_ACTIONS(DO) \
	DO(broker_takes(c)) DO(broker_takes_ack(c)) DO(broker_requeues(c)) DO(lease_ends(c)) \
	DO(S0_request(c, 0)) DO(S0_request(c, 1)) DO(hold_copy_comes(c, 0)) DO(hold_copy_comes(c, 1)) \
	DO(recover(c)) DO(S4c_S5c_ack_surplus(c)) DO(S9_too_early(c)) DO(give_back(c, 0)) DO(give_back(c, 1)) \
	DO(publish_twice(c)) DO(recover_twice(c))

#define RUNNER_ACTIONS(DO) \
	DO(reconnect(i)) DO(announce(i)) DO(answer(i)) DO(ping(i)) DO(fence(i)) DO(guardian(i)) DO(restart(i)) \
	DO(ask_again(i)) DO(hand_back(i)) DO(given(i)) DO(nobody_answered(i)) \
	DO(drained(i)) DO(drain_fails(i)) DO(S6_S7(i)) DO(S8(i)) DO(S4a_S5a_renew(i)) \
	DO(drain(i)) DO(cut(i)) DO(crash(i)) DO(crash_and_lose(i))

#define WORLD_ACTIONS(DO) DO(tick()) DO(broker_restarts())

proctype copy(byte c) provided (!calm)
{
end:	do
	COPY_ACTIONS(STEP)
	od
}

proctype runner(byte i) provided (!calm)
{
end:	do
	RUNNER_ACTIONS(STEP)
	od
}

proctype world() provided (!calm)
{
end:	do
	WORLD_ACTIONS(STEP)
#ifdef CALM
	:: !done -> calm = 1
#endif
	od
}

/* Calm: from any state on there are no more faults, and all actions are tried in turn, for ever. A dead
 * runner stays dead unless both are. A run ends only when one copy is left of its request, held by it. A
 * history that goes round here without end would never have a final. */
#ifdef CALM
#define TRY(action) if :: d_step { action; settle() } :: else fi;
inline copy_turn(c)   { COPY_ACTIONS(TRY) skip }
inline runner_turn(i) { RUNNER_ACTIONS(TRY) skip }

proctype in_calm() provided (calm)
{
end:	calm;
accept:	do
	:: atomic {
		!done ->
		copy_turn(0); copy_turn(1); copy_turn(2);
		runner_turn(0); runner_turn(1);
		WORLD_ACTIONS(TRY)
	}
	od
}
#endif

init {
	atomic {
		at[0] = READY; fresh[0] = 1;
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
