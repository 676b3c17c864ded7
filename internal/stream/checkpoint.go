package stream

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/pace"
)

const (
	checkpointSlice = 5 * time.Millisecond   // of writing checkpoints between two polls: a record that comes meanwhile waits for it
	checkpointRoom  = 100 * time.Millisecond // of writing them between two looks at the memory, while tables take far more than they may
	checkpointPiece = 64 << 10               // bytes that are written at once
	checkpointFull  = time.Second            // at least, between a task's checkpoints while memory is full: what changes often is written once
	checkpointOver  = 2 * time.Second        // at most, of writing them after a transaction while tables take far more than they may
)

// saving is a checkpoint that is being written, piece by piece between transactions. What the pieces hold may be newer than the position that is written
// last; to read the changelog from there makes it so as well.
type saving struct {
	active bool
	to     position // when all is written
	took   time.Duration
}

// checkpoint writes, side by side, the tasks that have waited longest, of those that are due, until it has taken d.
func (s *session) checkpoint(d time.Duration) error {
	var group errgroup.Group
	for _, t := range s.due(runtime.GOMAXPROCS(0)) {
		begin := t.isDue(s.o.CheckpointEvery)
		group.Go(func() error {
			if err := t.save(d, begin); err != nil {
				return &processError{fmt.Errorf("writing the checkpoint of partition %d of %s: %w", t.Partition, s.role.Engines[t.engine].Name, err)}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.watchCheckpoints()
	return nil
}

// patience is how long a poll waits for records: no longer than the checkpoints that are being written rest.
func (s *session) patience() time.Duration {
	for _, t := range s.tasks {
		if t.saving.active || t.store.memory.isFull() {
			return pace.Rest(checkpointSlice)
		}
	}
	return idlePoll
}

// makeRoom writes checkpoints until the process's tables take about what they may: the next transaction waits for it. Other roles' tables count, too, and only
// these can make them smaller; so it goes on for a while and no longer.
func (s *session) makeRoom() error {
	for began := time.Now(); s.isOver() && time.Since(began) < checkpointOver; {
		if err := s.checkpoint(checkpointRoom); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) isOver() bool {
	for _, store := range s.o.Stores {
		if store.memory.isOver() {
			return true
		}
	}
	return false
}

// due returns at most n tasks, those that have waited longest. A task counts if its checkpoint is being written or is due. While memory is full every task
// counts: it can forget what its checkpoint holds.
func (s *session) due(n int) []*liveTask {
	var due []*liveTask
	for _, t := range s.tasks {
		if t.saving.active || t.isDue(s.o.CheckpointEvery) || t.store.memory.isFull() {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *liveTask) int { return a.served.Compare(b.served) })
	return due[:min(n, len(due))]
}

// isDue tells whether a checkpoint should begin.
func (t *liveTask) isDue(every time.Duration) bool {
	if t.store.memory.isFull() {
		every = min(every, checkpointFull)
	}
	return t.unsaved && !t.saving.active && time.Since(t.checkpointed) >= every
}

// watchCheckpoints tells what became of checkpoints.
func (s *session) watchCheckpoints() {
	for _, t := range s.tasks {
		if t.saving.active || t.saving.took == 0 {
			continue
		}
		s.metrics.engines[t.engine].checkpoint.Observe(t.saving.took.Seconds())
		t.saving.took = 0
		s.countEntries(t.engine)
	}
}

// countEntries tells how much of an engine's tables is in memory.
func (s *session) countEntries(engine int) {
	entries, bytes := make(map[string]int), make(map[string]int64)
	for _, t := range s.tasks {
		if t.engine != engine {
			continue
		}
		for _, tb := range t.tables {
			entries[tb.tableName()] += tb.state().len()
			bytes[tb.tableName()] += tb.state().bytes()
		}
	}
	for name, n := range entries {
		s.metrics.engines[engine].entries.WithLabelValues(name).Set(float64(n))
		s.metrics.engines[engine].bytes.WithLabelValues(name).Set(float64(bytes[name]))
	}
}

// saveTasks completes every checkpoint, so that the next start has nothing to read again.
func (s *session) saveTasks() error {
	for _, t := range s.tasks {
		if err := t.saveAll(); err != nil {
			return fmt.Errorf("writing the checkpoint of partition %d of %s: %w", t.Partition, s.role.Engines[t.engine].Name, err)
		}
	}
	return nil
}

// saveAll writes the task's checkpoint to its end.
func (t *liveTask) saveAll() error {
	for t.saving.active || t.unsaved {
		if err := t.save(time.Hour, true); err != nil {
			return err
		}
	}
	return nil
}

// save writes pieces of the task's checkpoint for about d, of a new one if it shall begin, and then makes room if memory is full. It must run between
// transactions.
func (t *liveTask) save(d time.Duration, begin bool) error {
	began := time.Now()
	t.served = began // the others' turn is next
	if begin && t.unsaved && !t.saving.active {
		t.checkpointed = began
		t.saving = saving{active: true, to: position{Next: t.next, Time: began}}
		t.unsaved = false
		for _, tb := range t.tables {
			tb.state().beginSaving()
		}
	}
	for t.saving.active && time.Since(began) < d {
		if err := t.savePiece(); err != nil {
			return err
		}
	}
	t.saving.took += time.Since(began)
	if !t.store.memory.isFull() {
		return nil
	}
	for t.store.memory.isTight() && time.Since(began) < d && t.evict() > 0 {
	}
	return nil
}

// savePiece writes the next entries, or the checkpoint's position after the last ones.
func (t *liveTask) savePiece() error {
	b := t.store.newBatch()
	left := checkpointPiece
	for _, tb := range t.tables {
		var err error
		if left, err = tb.state().save(left, func(key, value []byte) error { return b.set(tb.tableID(), key, value) }); err != nil {
			return err
		}
		tb.state().bill()
	}
	if left > 0 {
		t.saving.active = false
		if err := b.setPosition(t.saving.to); err != nil {
			return err
		}
	}
	return b.commit()
}

// evict passes once over a few entries of each table. Entries that were asked for lately stay for another round.
func (t *liveTask) evict() (passed int) {
	for _, tb := range t.tables {
		tb.evict()
		passed += tb.state().clean()
	}
	return passed
}

// close gives back what the task's tables take of the process's memory.
func (t *liveTask) close() {
	for _, tb := range t.tables {
		tb.state().close()
	}
}
