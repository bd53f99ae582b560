/* SPDX-License-Identifier: Apache-2.0 */
/* The lease of the quorum protocol: at most one twin holds it, whatever clocks, messages and restarts do.

   Time goes on in ticks of true time. The durations are the worst that clocks within their drift make of them:
     GRANT: an upstream whose clock is fast ends a grant after TTL / (1 + drift);
     USE: a holder whose clock is slow ends its use after (TTL (1 - drift) / (1 + drift)) / (1 - drift), less the margin.
   Without the margin the two are equal, for every drift: that is the case here. Whatever makes a grant longer or a use
   shorter does what a lost message does, too.

   A *term* is one candidacy and what follows it; odd ones are of one twin, even ones of the other, and a new one ends
   the twin's last, as its restart does. A lease is kept from every other term, so two terms of different twins stand for
   two machines of one name as well. A request arrives when it is sent, and its answer at any time after; besides,
   every request that was ever sent arrives at any time, any number of times, with an answer that is too late to count.
   (A request that is under way for a while counts for less, as its use begins with its sending.)
   Whether a term is committed is ignored: its lease is exclusive without.

   Bounds: TERMS, GRANT ticks, LOSSES: a disk may be lost.
   -DWITHOUT_...: one rule taken away; each must give an error. docs/explanation/model.md has the map to the code. */

#ifndef TERMS
#define TERMS 2
#endif
#ifndef GRANT
#define GRANT 2
#endif
#ifdef WITHOUT_DRIFT_ALLOWANCE
#define USE (GRANT + 1)
#else
#define USE GRANT
#endif

/* Of each upstream. */
byte promised[3];    /* term: epoch and owner in one */
byte holder[3];      /* whose lease lives; 0: nobody's */
byte held[3];        /* ticks since the grant */
bool given_back[3];  /* the promised term released it */

/* Of each term; and of each term with each upstream. */
mtype = { unborn, candidate, terming, over };
mtype phase[TERMS + 1] = unborn;
bool termed[TERMS + 1];
byte votes[TERMS + 1];         /* bit set of upstreams */
byte granted[(TERMS + 1) * 3]; /* 1 + ticks since the newest message was sent that was granted; 0: none that counts */
byte answer[(TERMS + 1) * 3];  /* under way, 1 + ticks since what it answers was sent; 0: none */
#define grant_of(term, up) granted[(term) * 3 + (up)]
#define answer_of(term, up) answer[(term) * 3 + (up)]

#ifdef LOSSES
bool not_voting[3];     /* on a new disk: does not vote */
byte readmitted_by;
bool lost;
#define is_voting(up) (!not_voting[up])
#else
#define is_voting(up) true
#endif

hidden byte i, k;

#define same_twin(one, two) (((one) & 1) == ((two) & 1))
#ifdef WITHOUT_MAJORITY
#define NEEDED 1
#else
#define NEEDED 2
#endif
#define one_if(condition) ((condition) -> 1 : 0)
#define holds(term) (phase[term] == terming && \
  one_if(grant_of(term, 0)) + one_if(grant_of(term, 1)) + one_if(grant_of(term, 2)) >= NEEDED)

/* -- the upstream ------------------------------------------------------------------------------------------ */

#ifdef WITHOUT_GIVEN_BACK
#define was_given_back(up) false
#else
#define was_given_back(up) given_back[up]
#endif
#ifdef WITHOUT_FENCING
#define fences(up, term) ((term) == promised[up] && was_given_back(up))
#else
#define fences(up, term) ((term) < promised[up] || ((term) == promised[up] && was_given_back(up)))
#endif
#ifdef WITHOUT_BLOCKING
#define blocked(up, term) false
#else
#define blocked(up, term) (holder[up] != 0 && holder[up] != (term))
#endif
/* Whoever has the promise and has not heard of it asks again. */
#define has_promise(up, term) ((term) == promised[up] && !was_given_back(up))
#define may_acquire(up, term) \
  (is_voting(up) && ((term) > promised[up] || has_promise(up, term)) && !blocked(up, term))
#define may_append(up, term) (is_voting(up) && !fences(up, term))

inline grant(up, term) {
  assert(promised[up] != term || !given_back[up]); /* what was released stays released */
  if :: promised[up] != term -> promised[up] = term; given_back[up] = false :: else fi;
  holder[up] = term; held[up] = 0
}

inline release(up, term) {
  given_back[up] = true;
  if :: holder[up] == term -> holder[up] = 0; held[up] = 0 :: else fi
}

/* What was in memory is lost: the owner of the last promise has the lease for a whole TTL, unless it was given back. */
inline restart(up) {
#ifdef WITHOUT_CAUTION_AFTER_RESTART
  holder[up] = 0;
#else
  if :: given_back[up] -> holder[up] = 0 :: else -> holder[up] = promised[up] fi;
#endif
  held[up] = 0
}

/* -- the twin ---------------------------------------------------------------------------------------------- */

inline no_answers(term) {
  answer_of(term, 0) = 0; answer_of(term, 1) = 0; answer_of(term, 2) = 0
}

inline end_term(term) {
  phase[term] = over; votes[term] = 0;
  grant_of(term, 0) = 0; grant_of(term, 1) = 0; grant_of(term, 2) = 0;
  no_answers(term)
}

inline try_election(term) {
  printf("term %d: candidate\n", term);
  i = 1;
  do
  :: i < term -> if :: same_twin(i, term) -> end_term(i) :: else fi; i++
  :: else -> break
  od;
  phase[term] = candidate
}

inline note_grant(term, up) {
#ifdef WITHOUT_COUNTING_FROM_SENDING
  grant_of(term, up) = 1
#else
  if
  :: answer_of(term, up) <= USE && (grant_of(term, up) == 0 || answer_of(term, up) < grant_of(term, up)) ->
     grant_of(term, up) = answer_of(term, up)
  :: else
  fi
#endif
}

inline count_vote(term, up) {
  votes[term] = votes[term] | (1 << up);
  if
#ifdef WITHOUT_MAJORITY
  :: votes[term] != 0 ->
#else
  :: votes[term] == 3 || votes[term] > 4 ->
#endif
     printf("term %d begins\n", term);
     phase[term] = terming; termed[term] = true; votes[term] = 0;
     no_answers(term)
  :: else
  fi
}

/* The promise of all this: nobody else holds. */
inline alone(term) {
  k = 1;
  do
  :: k <= TERMS -> assert(k == term || !holds(k) || !holds(term)); k++
  :: else -> break
  od
}

inline answered(term, up) {
  printf("term %d: hears from upstream %d\n", term, up);
  note_grant(term, up);
  answer_of(term, up) = 0;
  if :: phase[term] == candidate -> count_vote(term, up) :: else fi;
  alone(term);
  k = 0
}

/* -- the world --------------------------------------------------------------------------------------------- */

#define EACH(WHAT) WHAT(0) WHAT(1) WHAT(2)
#define ACQUIRE(up) \
  :: d_step { phase[r] == candidate && may_acquire(up, r) -> \
       printf("upstream %d: promise to term %d\n", up, r); grant(up, r); answer_of(r, up) = 1 }
#define APPEND(up) \
  :: d_step { phase[r] == terming && may_append(up, r) -> \
       printf("upstream %d: append of term %d\n", up, r); grant(up, r); answer_of(r, up) = 1 }
#define ANSWERED(up) \
  :: d_step { answer_of(r, up) != 0 -> answered(r, up) }
#define LATE_ACQUIRE(up) \
  :: d_step { phase[r] != unborn && may_acquire(up, r) -> \
       printf("upstream %d: late promise to term %d\n", up, r); grant(up, r) }
#define LATE_APPEND(up) \
  :: d_step { termed[r] && may_append(up, r) -> \
       printf("upstream %d: late append of term %d\n", up, r); grant(up, r) }
#define RELEASE(up) \
  :: d_step { phase[r] == over && promised[up] == r -> \
       printf("upstream %d: release of term %d\n", up, r); release(up, r) }

#ifdef LOSSES
#ifdef WITHOUT_READMISSION
#define new_disk_joins false
#else
#define new_disk_joins true
#endif
#define LOSS(up) \
  :: d_step { !lost -> \
       printf("upstream %d: new disk\n", up); lost = true; not_voting[up] = new_disk_joins; \
       promised[up] = 0; holder[up] = 0; held[up] = 0; given_back[up] = false }

/* The two others commit the new membership: what the old disk voted or granted counts no more in it. */
inline readmit(term, up) {
  printf("term %d: readmits upstream %d\n", term, up);
  readmitted_by = term; k = 1;
  do
  :: k <= TERMS -> votes[k] = votes[k] & (7 - (1 << up)); answer_of(k, up) = 0; k++
  :: else -> break
  od;
  grant_of(term, up) = 0
}
#define READMIT(up) \
  :: d_step { not_voting[up] && readmitted_by < r && holds(r) && \
              promised[(up + 1) % 3] == r && promised[(up + 2) % 3] == r -> readmit(r, up) }
#define INSTALL(up) \
  :: d_step { not_voting[up] && readmitted_by == r && promised[up] <= r -> \
       printf("term %d: snapshot for upstream %d\n", r, up); not_voting[up] = false; grant(up, r) }
#endif

proctype Term(byte r) {
  do
  :: d_step { phase[r] == unborn -> try_election(r) }
  :: d_step { (phase[r] == candidate || phase[r] == terming) -> printf("term %d: gives back\n", r); end_term(r) }
  EACH(ACQUIRE) EACH(APPEND) EACH(ANSWERED) EACH(LATE_ACQUIRE) EACH(LATE_APPEND) EACH(RELEASE)
#ifdef LOSSES
  EACH(READMIT) EACH(INSTALL)
#endif
  od
}

#define RESTART(up) :: d_step { promised[up] != 0 -> printf("upstream %d: restarts\n", up); restart(up) }

inline tick() {
  printf("tick\n");
  i = 0;
  do
  :: i < 3 ->
     if :: holder[i] != 0 -> held[i]++ :: else fi;
     if :: held[i] == GRANT -> holder[i] = 0; held[i] = 0 :: else fi;
     i++
  :: else -> break
  od;
  i = 3;
  do
  :: i < (TERMS + 1) * 3 ->
     if :: granted[i] != 0 -> granted[i]++ :: else fi;
     if :: granted[i] > USE -> granted[i] = 0 :: else fi;
     if
     :: answer[i] > USE
     :: answer[i] != 0 && answer[i] <= USE -> answer[i]++
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

proctype World() {
  do
  :: d_step { true -> tick() }
  EACH(RESTART)
#ifdef LOSSES
  EACH(LOSS)
#endif
  od
}

init {
  atomic {
    run Term(1); run Term(2);
#if TERMS > 2
    run Term(3);
#endif
#if TERMS > 3
    run Term(4);
#endif
    run World()
  }
}
