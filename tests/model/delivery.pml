/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery: exactly-once delivery (docs/protocol.md) as a model that spin searches to the last state.
 *
 * The story. An agent takes MESSAGES messages. Each is appended to its spool and gets the next
 * number; a sync makes all that were appended durable, and only then are they promised and may be
 * sent. The agent connects, says hello, waits for the welcome, and sends all behind the number that
 * the server has applied. Numbers don't travel: the server counts. The server applies in memory;
 * a commit puts its state and its number on disk in one transaction; later it learns that the
 * transaction is through, shows that state to scrapers, and acknowledges. What is acknowledged
 * leaves the spool once two later acks have come.
 *
 * What goes wrong, each at any instant, and as often as its bound says or until it stops (ENDLESS):
 *   CUTS           a connection breaks: for the agent (what it had sent may still arrive, whole or in
 *                  part, long after, while the next connection is already there), or for the server
 *                  (what it had written may still arrive). Giving up a silent server is a cut as well
 *   AGENT_CRASHES  the agent loses its memory, and any part of what was appended and not synced
 *   SERVER_CRASHES the server loses its memory and every connection
 *   OLDER          a crash after which the disk lacks the last commit or the last two, though they
 *                  were acknowledged (a disk that lies, a backup)
 *   EMPTIES        a crash after which the disk has nothing at all
 *   DROPS          a full spool drops its oldest message that was never sent, and tells it by @skip
 *
 * What is asserted, about each message itself and not about counts:
 *   - the server applies no message twice, and none behind a later one;
 *   - what the server acknowledges is on its disk, and so is what the agent takes for acknowledged
 *     (unless the disk has become older since);
 *   - what has left the spool is on the disk, also after one or two commits were lost;
 *   - what scrapers see never loses a message (but in the moment when the disk becomes older);
 *   - the chain fits at each welcome, so that no agent takes itself for a clone;
 *   - once faults have stopped and nothing more can happen (judge below), all that was promised has
 *     been applied once, or was told as dropped or as a hole, is on disk, and is acknowledged. Since
 *     no run goes on for ever without faults (check.py has that searched as well), each gets there.
 *
 * The planted bugs, one at a time by -D, show that the properties bite; check.py lists them.
 *
 * How it is written. A number n stands for the message spool[n]; messages have the names 0, 1, 2, …
 * in the order in which they are taken; a set of messages is a byte with a bit for each. A chain is
 * modelled by the set that it was computed over: both are equal only if the messages are. Each step
 * is atomic, and each process is one loop of such steps, so all that is between two steps is in the
 * variables below. Two connections suffice, since a hello fences all older ones alike.
 *
 * A commit is made durable when it is cut, and known later. A transaction that is under way has no
 * other effect than this: it is through, which nobody knows yet, or it is not, which is as if it had
 * not been begun.
 */
#define ENDLESS 255 /* as a bound: none */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef CUTS
#define CUTS ENDLESS
#endif
#ifndef AGENT_CRASHES
#define AGENT_CRASHES ENDLESS
#endif
#ifndef SERVER_CRASHES
#define SERVER_CRASHES ENDLESS
#endif
#ifndef OLDER
#define OLDER 0
#endif
#ifndef EMPTIES
#define EMPTIES 0
#endif
#ifndef DROPS
#define DROPS 0
#endif
#define GROUP 2  /* appended and not synced, at most */
#ifndef FLIGHT
#define FLIGHT 2 /* on its way in one direction of a connection, at most */
#endif

#define NONE 2    /* no connection */
#define NOTHING 0 /* the empty set, and the chain of no message */
#define BIT(x) (1 << (x))
#define IS_IN(a, b) (((a) & ~(b)) == 0)

mtype = {HELLO, DATA, SKIP, WELCOME, ACK}; /* what travels */
mtype = {CLOSED, NEW, NAMED};              /* the server's end of a connection */

/* ---- The wire ---- */

chan up[2] = [FLIGHT] of {mtype, byte, byte};         /* HELLO first - 1, chain; DATA name, 0; SKIP to, 0 */
chan down[2] = [FLIGHT] of {mtype, byte, byte, byte}; /* WELCOME applied, committed, chain; ACK N, 0, 0 */
mtype server_end[2] = CLOSED;

/* ---- The agent: on disk ---- */

byte spool[MESSAGES + 1]; /* what number n stands for; kept when freed, for the assertions */
byte freed;               /* numbers up to this have left it; `first` is one more */
byte last;                /* number appended */
byte synced;              /* number that is durable */
byte sent_ever;           /* the highest number that may ever have been sent */
byte dropped;             /* set of numbers: those that will be skipped */
byte torn;                /* TORN_TAIL_KEPT: nothing from this number on can be read; 0: none */

/* ---- The agent: in memory ---- */

byte connection = NONE;
bool is_ready;        /* it has had the welcome of this connection */
byte sent;            /* the number last sent, or passed over, on this connection */
byte acked;           /* number */
byte acked_before;    /* by the ack before that one */
byte acked_long_ago;  /* and the one before: two later acks have come, so up to here all may be freed */

/* ---- The server: in memory ---- */

byte applied;   /* number */
byte state;     /* set of the messages that it was made of */
byte hole;      /* set of the messages that it was told it will never get */
byte known;     /* number that is on disk, as far as it knows */
byte told;      /* number that the newest connection was last told to be on disk */

/* ---- The server: on disk, now and after commits were lost ---- */

byte disk_applied, disk_state, disk_hole;
byte older_applied, older_state;   /* before the last commit */
byte oldest_applied, oldest_state; /* and before the one before that */

/* ---- What the world may still do, and what it has seen ---- */

byte taken;    /* how many messages; the name of the next one */
byte promised; /* set of messages whose sender was told that they are safe */
byte shown;    /* set of messages in the state that scrapers see */
bool has_aged; /* whether the disk has become older, and the agent may not know it yet */
bool is_empty; /* whether it has lost everything */
byte cuts = CUTS;
byte agent_crashes = AGENT_CRASHES;
byte server_crashes = SERVER_CRASHES;
byte olders = OLDER;
byte empties = EMPTIES;
byte drops = DROPS;

hidden byte a, b, c, i, set; /* scratch within one step */

/* `set` is the chain over the messages 1 to n: skipped ones have no bytes. */
inline chain_to(n)
{
    set = NOTHING;
    for (i : 1 .. n) {
        if
        :: (dropped & BIT(i)) == 0 -> set = set | BIT(spool[i])
        :: else
        fi
    }
}

inline spend(bound)
{
    bound = (bound == ENDLESS -> bound : bound - 1)
}

inline drain(channel)
{
    do
    :: nempty(channel) -> channel ? _, _, _
    :: empty(channel) -> break
    od;
    skip
}

inline drain_down(k)
{
    do
    :: nempty(down[k]) -> down[k] ? _, _, _, _
    :: empty(down[k]) -> break
    od;
    skip
}

/* ---- The agent ---- */

/* What it had sent is still on its way; what it had not read is gone. */
inline agent_lets_go()
{
    if
    :: connection != NONE -> drain_down(connection)
    :: else
    fi
    connection = NONE;
    is_ready = false;
    sent = 0
}

inline take_ack(n)
{
    if
#ifdef REPEATED_ACKS_COUNT
    :: n >= acked ->
#else
    :: n > acked ->
#endif
        acked_long_ago = acked_before;
        acked_before = acked;
        acked = n
    :: n < acked -> /* the server has become older: what is left waits for two later acks again */
#ifdef LOST_ACKS_COUNT
        acked_long_ago = (acked_long_ago < n -> acked_long_ago : n);
        acked_before = (acked_before < n -> acked_before : n);
#else
        acked_long_ago = freed;
        acked_before = freed;
#endif
        acked = (n > freed -> n : freed)
    :: else
    fi;
    assert(has_aged || n <= disk_applied)
}

inline take_welcome()
{
    down[connection] ? _, a, b, c;
    assert(!is_ready && b <= a && a <= last);
    assert(a >= freed); /* a hole is passed by the server, see take_hello() */
    chain_to(a);
    assert(c == set);
    is_ready = true;
    sent = a;
    if
    :: server_end[connection] == NAMED -> has_aged = false
    :: else /* the server that wrote it is gone */
    fi;
    take_ack(b)
#ifdef RESUME_FROM_OWN_NUMBER
    ;
    sent = acked
#endif
}

#ifdef SEND_BEFORE_SYNC
#define MAY_SEND last
#else
#define MAY_SEND synced
#endif
#if defined(FREED_WHEN_SENT)
#define MAY_FREE sent
#elif defined(NO_WINDOW)
#define MAY_FREE acked
#else
#define MAY_FREE acked_long_ago
#endif
#ifdef FREED_WHILE_GREETING
#define MAY_FREE_NOW true
#else
#define MAY_FREE_NOW (connection == NONE || is_ready)
#endif
#ifdef SENT_ONES_DROPPED
#define NEXT_TO_DROP (acked + 1)
#else
#define NEXT_TO_DROP (sent_ever + 1)
#endif

active proctype agent()
{
end:
    do
    :: d_step { /* takes a message */
        taken < MESSAGES && last - synced < GROUP ->
            last++;
            spool[last] = taken;
            taken++
    }
    :: d_step { /* a group is safe */
        synced < last ->
            for (i : synced + 1 .. last) {
                promised = promised | BIT(spool[i])
            }
            synced = last
    }
    :: d_step { /* connects, and says hello */
        connection == NONE && (server_end[0] == CLOSED || server_end[1] == CLOSED) ->
            connection = (server_end[0] == CLOSED -> 0 : 1);
            server_end[connection] = NEW;
            chain_to(freed);
            up[connection] ! HELLO, freed, set
    }
    :: d_step { /* hears */
        connection != NONE && nempty(down[connection]) ->
            if
            :: down[connection] ? [WELCOME, _, _, _] -> take_welcome()
            :: else ->
                down[connection] ? _, a, _, _;
                assert(is_ready && a <= sent);
                if
                :: a > acked -> take_ack(a)
                :: else
                fi
            fi
    }
    :: d_step { /* sends the next one, or says that it will never come */
        connection != NONE && is_ready && sent < MAY_SEND && server_end[connection] != CLOSED &&
        nfull(up[connection]) && (torn == 0 || sent + 1 < torn) ->
            sent++;
            if
            :: dropped & BIT(sent) -> up[connection] ! SKIP, sent, 0
            :: else -> up[connection] ! DATA, spool[sent], 0
            fi;
            sent_ever = (sent > sent_ever -> sent : sent_ever)
    }
    :: d_step { /* sees that the server has hung up */
        connection != NONE && server_end[connection] == CLOSED -> agent_lets_go()
    }
#ifdef HANGS_UP_UNACKED
    :: d_step { connection != NONE && is_ready && acked < sent -> agent_lets_go() }
#endif
    :: d_step { /* lets the oldest message go, but not while a hello that names it is unanswered */
        freed < MAY_FREE && MAY_FREE_NOW ->
            freed++;
            assert((dropped & BIT(freed)) || (BIT(spool[freed]) & (disk_state | disk_hole)) ||
                   is_empty)
    }
    :: d_step { /* is full, and drops the oldest one that nobody was sent */
        drops > 0 && NEXT_TO_DROP <= synced && (dropped & BIT(NEXT_TO_DROP)) == 0 ->
            spend(drops);
            dropped = dropped | BIT(NEXT_TO_DROP)
    }
    od
}

/* ---- The server ---- */

/* What is committed from now on may be lost as long as the world may make the disk older. */
inline keep_older()
{
    if
    :: olders > 0 ->
        oldest_applied = older_applied;
        oldest_state = older_state;
        older_applied = disk_applied;
        older_state = disk_state
    :: else
    fi
}

inline publish(what)
{
    assert(IS_IN(shown, what));
    shown = what
}

inline close(k)
{
    server_end[k] = CLOSED;
    drain(up[k])
}

inline take_hello(k)
{
#ifndef NO_FENCE
    if
    :: server_end[1 - k] == NAMED -> close(1 - k)
    :: else
    fi;
#endif
    server_end[k] = NAMED;
    if
    :: a > applied -> /* what is between is gone, here and there */
        assert(is_empty);
        hole = hole | (b & ~state);
        applied = a
    :: a == applied -> assert(b == (state | hole))
    :: else
    fi;
    told = known;
    if
#ifdef WELCOME_WITHOUT_COMMITTED
    :: connection == k -> down[k] ! WELCOME, applied, 0, (state | hole)
#else
    :: connection == k -> down[k] ! WELCOME, applied, known, (state | hole)
#endif
    :: else /* the agent is gone, and nobody hears it */
    fi
}

inline apply(name)
{
    assert((state >> name) == 0); /* neither this message nor a later one */
    state = state | BIT(name);
    applied++
#ifdef SHOWN_BEFORE_COMMIT
    ;
    publish(state)
#endif
}

inline take(k)
{
    if
    :: up[k] ? [HELLO, _, _] ->
        up[k] ? _, a, b;
        take_hello(k)
    :: up[k] ? [DATA, _, _] ->
        up[k] ? _, a, _;
        apply(a)
    :: else ->
        up[k] ? _, a, _;
        applied = (a > applied -> a : applied)
    fi
}

#ifdef ACK_BEFORE_COMMIT
#define MAY_ACK applied
#else
#define MAY_ACK known
#endif

active proctype server()
{
end:
    do
    :: d_step { server_end[0] != CLOSED && nempty(up[0]) -> take(0) }
    :: d_step { server_end[1] != CLOSED && nempty(up[1]) -> take(1) }
    /* A connection that the agent has left ends, perhaps before all of it has arrived. */
    :: d_step { server_end[0] != CLOSED && connection != 0 -> close(0) }
    :: d_step { server_end[1] != CLOSED && connection != 1 -> close(1) }
#ifdef MARK_IN_SECOND_TRANSACTION
    :: d_step { disk_state != state -> disk_state = state }
    :: d_step { disk_applied != applied && disk_state == state -> disk_applied = applied }
#else
    :: d_step { /* commits */
        disk_applied != applied ->
            keep_older();
            disk_applied = applied;
            disk_state = state;
            disk_hole = hole
    }
#endif
    :: d_step { /* the commit is through */
        known != disk_applied ->
            known = disk_applied;
            publish(disk_state)
    }
    :: d_step { /* acknowledges */
        connection != NONE && server_end[connection] == NAMED && told < MAY_ACK &&
        nfull(down[connection]) ->
            told = MAY_ACK;
            assert(told <= disk_applied);
            down[connection] ! ACK, told, 0, 0
    }
    od
}

/* ---- The world ---- */

/* A new process with what is on disk. Both kinds of crash come up again at once: as long as one is
 * away, nothing else happens than that the other finds nobody. */
inline server_starts()
{
    close(0);
    close(1);
    state = disk_state;
    hole = disk_hole;
#ifdef MARK_NOT_RESTORED
    applied = 0;
#else
    applied = disk_applied;
#endif
    known = disk_applied;
    told = 0;
    publish(disk_state)
}

inline disk_becomes(number, what)
{
    has_aged = true;
    disk_applied = number;
    disk_state = what;
    shown = what; /* a scraper sees the fall, too */
    /* What left the spool was acknowledged thrice, so it is still here. */
    chain_to(freed);
    assert(IS_IN(set, disk_state | disk_hole) || is_empty)
}

active proctype world()
{
end:
progress: /* a run goes on for ever only if faults do: once they stop, this process is at its end */
    do
    :: break
    :: d_step { cuts > 0 && connection != NONE -> spend(cuts); agent_lets_go() }
    :: d_step { cuts > 0 && server_end[0] != CLOSED && connection == 0 -> spend(cuts); close(0) }
    :: d_step { cuts > 0 && server_end[1] != CLOSED && connection == 1 -> spend(cuts); close(1) }
    :: atomic {
        agent_crashes > 0 ->
            spend(agent_crashes);
            /* A group is all there, or its beginning, or nothing. */
            do
            :: last > synced ->
#ifdef TORN_TAIL_KEPT
                torn = last;
                break
#else
                spool[last] = 0;
                last--
#endif
            :: break
            od;
            d_step {
                synced = last;
                agent_lets_go();
                acked = freed;
                acked_before = freed;
                acked_long_ago = freed
            }
    }
    :: d_step { server_crashes > 0 -> spend(server_crashes); server_starts() }
    :: d_step { /* it comes back without its last commit */
        olders > 0 ->
            spend(olders);
            disk_becomes(older_applied, older_state);
            older_applied = oldest_applied;
            older_state = oldest_state;
            server_starts()
    }
    :: d_step { /* or without the last two */
        olders > 0 ->
            spend(olders);
            disk_becomes(oldest_applied, oldest_state);
            older_applied = oldest_applied;
            older_state = oldest_state;
            server_starts()
    }
    :: d_step { /* or with nothing */
        empties > 0 ->
            spend(empties);
            olders = 0; /* what was lost with a hole in it is not kept, see keep_older() */
            is_empty = true;
            disk_becomes(0, NOTHING);
            disk_hole = NOTHING;
            server_starts()
    }
    od
}

/* Nothing more can happen: then all must be well. */
active proctype judge()
{
    timeout ->
        d_step {
            chain_to(last);
            assert(taken == MESSAGES && synced == last);
            assert(connection != NONE && is_ready && acked == last);
            assert(disk_applied == last && known == last && shown == disk_state);
            assert((disk_state | disk_hole) == set && (disk_state & disk_hole) == NOTHING);
            dropped = 0;
            chain_to(last);
            assert(IS_IN(promised, set))
        }
}
