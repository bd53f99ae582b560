/* The lease of the quorum protocol: at most one twin holds it, whatever clocks, messages and restarts do.

   Time goes on in ticks of true time. The durations are the worst that clocks within their drift make of them:
     GRANT: an upstream whose clock is fast ends a grant after TTL / (1 + drift);
     USE: a holder whose clock is slow ends its use after (TTL (1 - drift) / (1 + drift)) / (1 - drift), less the guard.
   Without the guard the two are equal, for every drift: that is the case here. Whatever makes a grant longer or a use
   shorter does what a lost message does, too.

   A *reign* is one candidacy and what follows it; odd ones are of one twin, even ones of the other, and a new one ends
   the twin's last, as its restart does. A lease is kept from every other reign, so two reigns of different twins stand for
   two machines of one name as well. A request arrives when it is sent, and its answer at any time after; besides,
   every request that was ever sent arrives at any time, any number of times, with an answer that is too late to count.
   (A request that is under way for a while counts for less, as its use begins with its sending.)
   Whether a reign is committed is ignored: its lease is exclusive without.

   Bounds: REIGNS, GRANT ticks, LOSSES: a disk may be lost.
   -DWITHOUT_...: one rule taken away; each must give an error. docs/explanation/model.md has the map to the code. */

#ifndef REIGNS
#define REIGNS 2
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
byte promised[3];    /* reign: epoch and owner in one */
byte holder[3];      /* whose lease lives; 0: nobody's */
byte held[3];        /* ticks since the grant */
bool given_back[3];  /* the promised reign released it */

/* Of each reign; and of each reign with each upstream. */
mtype = { unborn, candidate, reigning, over };
mtype phase[REIGNS + 1] = unborn;
bool reigned[REIGNS + 1];
byte votes[REIGNS + 1];         /* bit set of upstreams */
byte granted[(REIGNS + 1) * 3]; /* 1 + ticks since the newest message was sent that was granted; 0: none that counts */
byte answer[(REIGNS + 1) * 3];  /* under way, 1 + ticks since what it answers was sent; 0: none */
#define grant_of(reign, up) granted[(reign) * 3 + (up)]
#define answer_of(reign, up) answer[(reign) * 3 + (up)]

#ifdef LOSSES
bool joining[3];     /* on a new disk: does not vote */
byte readmitted_by;
bool lost;
#define is_voting(up) (!joining[up])
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
#define holds(reign) (phase[reign] == reigning && \
  one_if(grant_of(reign, 0)) + one_if(grant_of(reign, 1)) + one_if(grant_of(reign, 2)) >= NEEDED)

/* -- the upstream ------------------------------------------------------------------------------------------ */

#ifdef WITHOUT_GIVEN_BACK
#define was_given_back(up) false
#else
#define was_given_back(up) given_back[up]
#endif
#ifdef WITHOUT_FENCING
#define fences(up, reign) ((reign) == promised[up] && was_given_back(up))
#else
#define fences(up, reign) ((reign) < promised[up] || ((reign) == promised[up] && was_given_back(up)))
#endif
#ifdef WITHOUT_BLOCKING
#define blocked(up, reign) false
#else
#define blocked(up, reign) (holder[up] != 0 && holder[up] != (reign))
#endif
/* Whoever has the promise and has not heard of it asks again. */
#define has_promise(up, reign) ((reign) == promised[up] && !was_given_back(up))
#define may_acquire(up, reign) \
  (is_voting(up) && ((reign) > promised[up] || has_promise(up, reign)) && !blocked(up, reign))
#define may_append(up, reign) (is_voting(up) && !fences(up, reign))

inline grant(up, reign) {
  assert(promised[up] != reign || !given_back[up]); /* what was released stays released */
  if :: promised[up] != reign -> promised[up] = reign; given_back[up] = false :: else fi;
  holder[up] = reign; held[up] = 0
}

inline release(up, reign) {
  given_back[up] = true;
  if :: holder[up] == reign -> holder[up] = 0; held[up] = 0 :: else fi
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

inline no_answers(reign) {
  answer_of(reign, 0) = 0; answer_of(reign, 1) = 0; answer_of(reign, 2) = 0
}

inline end_reign(reign) {
  phase[reign] = over; votes[reign] = 0;
  grant_of(reign, 0) = 0; grant_of(reign, 1) = 0; grant_of(reign, 2) = 0;
  no_answers(reign)
}

inline try_election(reign) {
  printf("reign %d: candidate\n", reign);
  i = 1;
  do
  :: i < reign -> if :: same_twin(i, reign) -> end_reign(i) :: else fi; i++
  :: else -> break
  od;
  phase[reign] = candidate
}

inline note_grant(reign, up) {
#ifdef WITHOUT_COUNTING_FROM_SENDING
  grant_of(reign, up) = 1
#else
  if
  :: answer_of(reign, up) <= USE && (grant_of(reign, up) == 0 || answer_of(reign, up) < grant_of(reign, up)) ->
     grant_of(reign, up) = answer_of(reign, up)
  :: else
  fi
#endif
}

inline count_vote(reign, up) {
  votes[reign] = votes[reign] | (1 << up);
  if
#ifdef WITHOUT_MAJORITY
  :: votes[reign] != 0 ->
#else
  :: votes[reign] == 3 || votes[reign] > 4 ->
#endif
     printf("reign %d begins\n", reign);
     phase[reign] = reigning; reigned[reign] = true; votes[reign] = 0;
     no_answers(reign)
  :: else
  fi
}

/* The promise of all this: nobody else holds. */
inline alone(reign) {
  k = 1;
  do
  :: k <= REIGNS -> assert(k == reign || !holds(k) || !holds(reign)); k++
  :: else -> break
  od
}

inline answered(reign, up) {
  printf("reign %d: hears from upstream %d\n", reign, up);
  note_grant(reign, up);
  answer_of(reign, up) = 0;
  if :: phase[reign] == candidate -> count_vote(reign, up) :: else fi;
  alone(reign);
  k = 0
}

/* -- the world --------------------------------------------------------------------------------------------- */

#define EACH(WHAT) WHAT(0) WHAT(1) WHAT(2)
#define ACQUIRE(up) \
  :: d_step { phase[r] == candidate && may_acquire(up, r) -> \
       printf("upstream %d: promise to reign %d\n", up, r); grant(up, r); answer_of(r, up) = 1 }
#define APPEND(up) \
  :: d_step { phase[r] == reigning && may_append(up, r) -> \
       printf("upstream %d: append of reign %d\n", up, r); grant(up, r); answer_of(r, up) = 1 }
#define ANSWERED(up) \
  :: d_step { answer_of(r, up) != 0 -> answered(r, up) }
#define LATE_ACQUIRE(up) \
  :: d_step { phase[r] != unborn && may_acquire(up, r) -> \
       printf("upstream %d: late promise to reign %d\n", up, r); grant(up, r) }
#define LATE_APPEND(up) \
  :: d_step { reigned[r] && may_append(up, r) -> \
       printf("upstream %d: late append of reign %d\n", up, r); grant(up, r) }
#define RELEASE(up) \
  :: d_step { phase[r] == over && promised[up] == r -> \
       printf("upstream %d: release of reign %d\n", up, r); release(up, r) }

#ifdef LOSSES
#ifdef WITHOUT_READMISSION
#define new_disk_joins false
#else
#define new_disk_joins true
#endif
#define LOSS(up) \
  :: d_step { !lost -> \
       printf("upstream %d: new disk\n", up); lost = true; joining[up] = new_disk_joins; \
       promised[up] = 0; holder[up] = 0; held[up] = 0; given_back[up] = false }

/* The two others commit the new membership: what the old disk voted or granted counts no more in it. */
inline readmit(reign, up) {
  printf("reign %d: readmits upstream %d\n", reign, up);
  readmitted_by = reign; k = 1;
  do
  :: k <= REIGNS -> votes[k] = votes[k] & (7 - (1 << up)); answer_of(k, up) = 0; k++
  :: else -> break
  od;
  grant_of(reign, up) = 0
}
#define READMIT(up) \
  :: d_step { joining[up] && readmitted_by < r && holds(r) && \
              promised[(up + 1) % 3] == r && promised[(up + 2) % 3] == r -> readmit(r, up) }
#define INSTALL(up) \
  :: d_step { joining[up] && readmitted_by == r && promised[up] <= r -> \
       printf("reign %d: snapshot for upstream %d\n", r, up); joining[up] = false; grant(up, r) }
#endif

proctype Reign(byte r) {
  do
  :: d_step { phase[r] == unborn -> try_election(r) }
  :: d_step { (phase[r] == candidate || phase[r] == reigning) -> printf("reign %d: gives back\n", r); end_reign(r) }
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
  :: i < (REIGNS + 1) * 3 ->
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
    run Reign(1); run Reign(2);
#if REIGNS > 2
    run Reign(3);
#endif
#if REIGNS > 3
    run Reign(4);
#endif
    run World()
  }
}
