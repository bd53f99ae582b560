/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of the quorum protocol: one history, whatever is lost, late, doubled or replaced.

   A *term* is one candidacy of one life of a twin, and what follows it; a *disk* is one store of an upstream.
   Wider than the code on purpose, so that fewer things need an argument:
   - every message that was ever sent may arrive at any time, any number of times, in any order, or never;
   - all terms, and all disks that ever were in a slot, are there at once; whoever crashes just does no more;
   - no lease keeps a twin from being elected, or a deposed one from going on.
   Bounds: TERMS candidacies, LENGTH entries, DISKS disks (0..2 founded the system; 3 replaces disk 0;
   4 replaces disk 1, or with -DAGAIN disk 3).
   -DLIVES: terms 1 and 2 are two lives of one twin that took the same epoch.
   -DWITHOUT_...: one rule taken away; each must give an error.
   docs/explanation/model.md has the map to the code. */

#ifndef TERMS
#define TERMS 3
#endif
#ifndef LENGTH
#define LENGTH 3
#endif
#ifndef DISKS
#define DISKS 4
#endif

/* An entry: number of the term that wrote it, plus 8 for each disk number above 2 that it puts in. 0: none. */
#define author(entry) ((entry) & 7)
#define puts_in(entry, disk) (((entry) >> 3) == (disk) - 2)
#define members_entry(entry) ((entry) > 7)

/* What orders terms. Without LIVES each has an epoch of its own. */
#ifdef LIVES
#define epoch_of(term) ((term) > 1 -> (term) - 1 : (term))
#else
#define epoch_of(term) (term)
#endif
#define epoch_at(entry) epoch_of(author(entry))

byte journal[DISKS * LENGTH]; /* what is on each disk */
byte promised[DISKS];         /* by term number: epoch and owner in one */
bool voting[DISKS];
#define on(disk, at) journal[(disk) * LENGTH + (at)]

byte log[TERMS * LENGTH]; /* of a candidate: the best promise so far; of an active: its own */
bool terms[TERMS + 1];
byte votes[TERMS + 1];       /* bit set of disks */
byte begins[TERMS + 1];      /* length of the log with the `term` entry */
byte commit[TERMS + 1];
byte match[(TERMS + 1) * DISKS];
#define at(term, index) log[((term) - 1) * LENGTH + (index)]
#define stored(term, disk) match[(term) * DISKS + (disk)]

byte history[LENGTH];         /* a witness: what was committed, by anybody */

hidden byte i, size, other, count, has3, has4, same, hit;

#define bit_of(disk) (1 << (disk))

#if DISKS > 4
#ifdef AGAIN
#define MEMBERS_4(disk) ((disk) == 4 -> has4 : ((disk) == 3 -> has3 && !has4 : ((disk) != 0 || !has3)))
#else
#define MEMBERS_4(disk) ((disk) == 4 -> has4 : ((disk) == 3 -> has3 : ((disk) == 0 -> !has3 : ((disk) != 1 || !has4))))
#endif
#define is_member(disk) MEMBERS_4(disk)
#else
#define is_member(disk) ((disk) == 3 -> has3 : ((disk) != 0 || !has3))
#endif

inline length_of_log(term) {
  size = 0;
  do :: size < LENGTH && at(term, size) != 0 -> size++ :: else -> break od
}

/* Sets has3 and has4: which new disks the first `upto` entries of the log put in. */
inline membership_at(term, upto) {
  has3 = 0; has4 = 0; i = 0;
  do
  :: i < upto ->
     if :: puts_in(at(term, i), 3) -> has3 = 1 :: puts_in(at(term, i), 4) -> has4 = 1 :: else fi;
     i++
  :: else -> break
  od
}

/* -- the upstream ------------------------------------------------------------------------------------------ */

#ifdef WITHOUT_FENCING
#define fences(disk, term) false
#elif defined(WITHOUT_INCARNATION)
#define fences(disk, term) (epoch_of(term) < epoch_of(promised[disk]))
#else
#define fences(disk, term) (epoch_of(term) <= epoch_of(promised[disk]) && promised[disk] != (term))
#endif

/* Nothing that the witness saw committed may leave a disk that has it. */
inline cut(disk, from) {
  i = from;
  do
  :: i < LENGTH -> assert(on(disk, i) == 0 || on(disk, i) != history[i]); on(disk, i) = 0; i++
  :: else -> break
  od
}

/* A promise becomes known to the candidate: the best journal is kept, by (epoch, index). */
inline vote(term, disk) {
  if
  :: !terms[term] && (votes[term] & bit_of(disk)) == 0 ->
     other = 0;
     do :: other < LENGTH && on(disk, other) != 0 -> other++ :: else -> break od;
     length_of_log(term);
     if
#ifdef WITHOUT_EPOCH_RANK
     :: other > size
#else
     :: other > 0 && (size == 0 || epoch_at(on(disk, other - 1)) > epoch_at(at(term, size - 1)) ||
        (epoch_at(on(disk, other - 1)) == epoch_at(at(term, size - 1)) && other > size))
#endif
        -> i = 0; do :: i < LENGTH -> at(term, i) = on(disk, i); i++ :: else -> break od
     :: else
     fi;
     votes[term] = votes[term] | bit_of(disk)
  :: else
  fi
}

/* `Acquire` arrives; the answer is lost or not. */
#ifdef WITHOUT_SYNC
#define promise(disk, term) skip
#else
#define promise(disk, term) promised[disk] = term
#endif
#ifdef WITHOUT_INCARNATION
/* The answer counts for the twin's next life, too. */
#define heard_by_other_life(term, disk) if :: term == 1 -> vote(2, disk) :: else fi
#else
#define heard_by_other_life(term, disk) skip
#endif
#define grants(disk, term) (voting[disk] && epoch_of(term) > epoch_of(promised[disk]))
#define ACQUIRE(disk) \
  :: d_step { grants(disk, r) -> printf("term %d: disk %d promises\n", r, disk); promise(disk, r); vote(r, disk); heard_by_other_life(r, disk) } \
  :: d_step { grants(disk, r) -> printf("term %d: disk %d promises, the answer is lost\n", r, disk); promised[disk] = r }

/* -- the twin ---------------------------------------------------------------------------------------------- */

#ifdef WITHOUT_MAJORITY_OF_VOTES
#define VOTES 1
#else
#define VOTES 2
#endif
#ifdef WITHOUT_MAJORITY_OF_STORES
#define STORES 1
#else
#define STORES 2
#endif
#ifdef WITHOUT_DISK_IDENTITY
#define may_vote(disk) true
#else
#define may_vote(disk) is_member(disk)
#endif

#define counted(disk) ((votes[r] & bit_of(disk)) != 0 && may_vote(disk) -> 1 : 0)
#if DISKS > 4
#define counted_votes (counted(0) + counted(1) + counted(2) + counted(3) + counted(4))
#elif DISKS > 3
#define counted_votes (counted(0) + counted(1) + counted(2) + counted(3))
#else
#define counted_votes (counted(0) + counted(1) + counted(2))
#endif

/* What the twin will term with: its mirror of `mirrored` committed entries, then the best promise. */
#define merged(index, mirrored) ((index) < (mirrored) -> history[index] : at(r, index))

#ifdef WITHOUT_RISING_EPOCHS
#define newer_than_log(mirrored) true
#else
#define newer_than_log(mirrored) (size == 0 || epoch_at(merged(size - 1, mirrored)) < epoch_of(r))
#endif

inline begin_term(mirrored) {
  has3 = 0; has4 = 0; size = 0;
  do
  :: size < LENGTH && merged(size, mirrored) != 0 ->
     if
     :: puts_in(merged(size, mirrored), 3) -> has3 = 1
     :: puts_in(merged(size, mirrored), 4) -> has4 = 1
     :: else
     fi;
     size++
  :: else -> break
  od;
  if
  :: size < LENGTH && counted_votes >= VOTES && newer_than_log(mirrored) ->
     i = 0;
     do :: i < mirrored -> at(r, i) = history[i]; i++ :: else -> break od;
     printf("term %d begins at entry %d\n", r, size + 1);
     terms[r] = true; votes[r] = 0;
     at(r, size) = r; begins[r] = size + 1
  :: else
  fi
}
#define BEGIN(mirrored) \
  :: d_step { !terms[r] && votes[r] != 0 && (mirrored == 0 || history[mirrored - 1] != 0) -> \
       begin_term(mirrored) }

#define serving(term) (terms[term] && commit[term] >= begins[term])

#define stores(disk) (is_member(disk) && stored(term, disk) >= count -> 1 : 0)
#if DISKS > 4
#define counted_stores (stores(0) + stores(1) + stores(2) + stores(3) + stores(4))
#elif DISKS > 3
#define counted_stores (stores(0) + stores(1) + stores(2) + stores(3))
#else
#define counted_stores (stores(0) + stores(1) + stores(2))
#endif
#ifdef WITHOUT_OWN_EPOCH
#define counts(term, index) true
#else
#define counts(term, index) (epoch_at(at(term, index)) == epoch_of(term))
#endif

/* Commits the longest prefix that two members have stored, if its last entry counts. */
inline advance(term) {
  length_of_log(term);
  membership_at(term, size);
  count = size;
  do
  :: count > commit[term] && counted_stores < STORES -> count--
  :: else -> break
  od;
  if
  :: count > commit[term] && counts(term, count - 1) ->
     printf("term %d: committed up to %d\n", term, count);
     commit[term] = count; i = 0;
     do
     :: i < count -> assert(history[i] == 0 || history[i] == at(term, i)); history[i] = at(term, i); i++
     :: else -> break
     od
  :: else
  fi
}

inline appended(term, disk, upto) {
  if :: stored(term, disk) < upto -> stored(term, disk) = upto; advance(term) :: else fi
}

/* `Append` of entry `upto` arrives; with the commit index, up to which the upstream applies. */
inline append(disk, upto) {
  printf("term %d: disk %d takes entry %d, of term %d\n", r, disk, upto, author(at(r, upto - 1)));
  promised[disk] = r;
  if
  :: upto == 1 || (on(disk, upto - 2) != 0 && epoch_at(on(disk, upto - 2)) == epoch_at(at(r, upto - 2))) ->
     if
     :: on(disk, upto - 1) != 0 && epoch_at(on(disk, upto - 1)) == epoch_at(at(r, upto - 1))
     :: else -> cut(disk, upto - 1);
#ifndef WITHOUT_SYNC_OF_ENTRIES
        on(disk, upto - 1) = at(r, upto - 1)
#endif
     fi;
#ifndef WITHOUT_SYNC_OF_ENTRIES
     i = 0;
     do
     :: i < upto && i < commit[r] -> assert(on(disk, i) == history[i]); i++
     :: else -> break
     od;
#endif
     appended(r, disk, upto)
#ifdef WITHOUT_INCARNATION
     ; if :: r == 1 && terms[2] -> length_of_log(2); if :: size >= upto -> appended(2, disk, upto) :: else fi :: else fi
#endif
  :: else -> printf("  conflict\n")
  fi
}
#define APPEND(disk, upto) \
  :: d_step { terms[r] && at(r, upto - 1) != 0 && voting[disk] && !fences(disk, r) -> append(disk, upto) }

#define COMMAND \
  :: d_step { serving(r) && at(r, LENGTH - 1) == 0 -> length_of_log(r); at(r, size) = r; printf("term %d: command, entry %d\n", r, size + 1) }

#ifdef AGAIN
#define may_replace(disk) ((disk) == 3 -> !has3 : has3 && !has4)
#else
#define may_replace(disk) ((disk) == 3 -> !has3 : !has4)
#endif

/* A new disk is put into the membership: one change at a time, never one that was in before. */
inline readmit(disk) {
  membership_at(r, commit[r]); same = has3 + has4;
  length_of_log(r);
  membership_at(r, size);
  if
  :: (has3 + has4 == same) && may_replace(disk) -> printf("term %d: disk %d into the membership, entry %d\n", r, disk, size + 1);
     at(r, size) = r + 8 * ((disk) - 2)
  :: else
  fi
}
#define READMIT(disk) :: d_step { serving(r) && at(r, LENGTH - 1) == 0 -> readmit(disk) }

/* `Install` of the first `upto` entries arrives: also makes a new disk vote. */
inline install(disk, upto) {
  membership_at(r, upto);
  if
  :: is_member(disk) ->
     printf("term %d: snapshot up to %d for disk %d\n", r, upto, disk);
     promised[disk] = r;
     if
     :: on(disk, upto - 1) != 0 && epoch_at(on(disk, upto - 1)) == epoch_at(at(r, upto - 1))
     :: else -> cut(disk, upto)
     fi;
     i = 0;
     do
     :: i < upto -> assert(on(disk, i) != history[i] || on(disk, i) == at(r, i)); on(disk, i) = at(r, i); i++
     :: else -> break
     od;
     voting[disk] = true;
     appended(r, disk, upto)
  :: else
  fi
}
#define INSTALL(disk, upto) \
  :: d_step { terms[r] && commit[r] >= upto && !fences(disk, r) -> install(disk, upto) }

/* -- the world --------------------------------------------------------------------------------------------- */

#if LENGTH > 3
#define EACH_LENGTH(WHAT, disk) WHAT(disk, 1) WHAT(disk, 2) WHAT(disk, 3) WHAT(disk, 4)
#define MIRRORED BEGIN(0) BEGIN(1) BEGIN(2) BEGIN(3)
#elif LENGTH > 2
#define EACH_LENGTH(WHAT, disk) WHAT(disk, 1) WHAT(disk, 2) WHAT(disk, 3)
#define MIRRORED BEGIN(0) BEGIN(1) BEGIN(2)
#else
#define EACH_LENGTH(WHAT, disk) WHAT(disk, 1) WHAT(disk, 2)
#define MIRRORED BEGIN(0) BEGIN(1)
#endif

proctype Term(byte r) {
  do
  ACQUIRE(0) ACQUIRE(1) ACQUIRE(2)
  MIRRORED
  EACH_LENGTH(APPEND, 0) EACH_LENGTH(APPEND, 1) EACH_LENGTH(APPEND, 2)
  COMMAND
#if DISKS > 3
  ACQUIRE(3) EACH_LENGTH(APPEND, 3) READMIT(3)
  EACH_LENGTH(INSTALL, 0) EACH_LENGTH(INSTALL, 1) EACH_LENGTH(INSTALL, 2) EACH_LENGTH(INSTALL, 3)
#endif
#if DISKS > 4
  ACQUIRE(4) EACH_LENGTH(APPEND, 4) READMIT(4) EACH_LENGTH(INSTALL, 4)
#endif
  od
}

#ifdef WITHOUT_READMISSION
/* A disk is lost once, and the empty one answers under the same name. */
bool lost;
proctype Loss() {
  do
  :: d_step { !lost -> lost = true; promised[0] = 0; i = 0; do :: i < LENGTH -> on(0, i) = 0; i++ :: else -> break od }
  od
}
#endif

init {
  d_step {
    voting[0] = true; voting[1] = true; voting[2] = true;
#if DISKS > 3 && defined(WITHOUT_SNAPSHOT_FIRST)
    voting[3] = true;
#endif
    i = 0
  };
  atomic {
    run Term(1); run Term(2);
#if TERMS > 2
    run Term(3);
#endif
#if TERMS > 3
    run Term(4);
#endif
#ifdef WITHOUT_READMISSION
    run Loss();
#endif
  }
}
