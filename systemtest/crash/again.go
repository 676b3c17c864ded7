package crash

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"sluice/features/entity"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/spec"
	"sluice/features/trending"
	"sluice/internal/config"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/filter"
	"sluice/privacyfilter/pseudonym"
)

// again is an uninterrupted run over the log: the same engines, in one goroutine, in memory, without transactions, restarts or rebalances. What it emits
// and what it keeps must equal, byte for byte, what the attacked run left.
type again struct {
	outputs  *engineRun                           // the filter, flushed for what it emits
	engines  map[string]*engineRun                // by name, flushed for what they keep
	emitted  map[string]*[stream.Partitions][]sum // by topic: what the filter emits, in order
	entities map[sum]int                          // what goes to entities; its order across input partitions is free
	rows     map[string][]byte                    // newest consent rows by key
}

// sum is a short hash of a record's key and value.
type sum [16]byte

func sumOf(key, value []byte) sum {
	h := sha256.New()
	h.Write([]byte{byte(len(key) >> 8), byte(len(key))})
	h.Write(key)
	if value != nil {
		h.Write([]byte{1})
	}
	h.Write(value)
	var s sum
	copy(s[:], h.Sum(nil))
	return s
}

// engineRun is one engine, a task for each partition.
type engineRun struct {
	engine     stream.Engine
	tasks      [stream.Partitions]*stream.Task
	processors [stream.Partitions]stream.Processor
	state      map[string][]byte // changelog keys of all partitions, after the partition
	unflushed  int
}

// register and features as they are built in, which is how the attacked system runs.
func builtIn() (*privacyfilter.Register, *spec.Config, error) {
	sections := make(map[string]config.Section)
	for name, data := range map[string][]byte{"register.yaml": privacyfilter.Defaults, "features.yaml": spec.Defaults} {
		file, err := config.Parse(name, data)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range file.Sections() {
			sections[s.Name] = s
		}
	}
	of := func(name string) config.Section { return sections[name] }
	register, err := privacyfilter.Load(of)
	if err != nil {
		return nil, nil, err
	}
	c, err := spec.Load(of, register)
	return register, c, err
}

func newAgain(cluster stream.Cluster, ring *seal.Keyring) (*again, error) {
	register, c, err := builtIn()
	if err != nil {
		return nil, err
	}
	window, kept := c.ContributorWindows(register)
	filterEngine := filter.Engine(filter.Options{
		Register: register, Ring: ring, Keys: pseudonym.New(ring), Generation: 1, TrendingWindow: window, TrendingKept: kept, TrendingAge: c.Trending.MinAge, Counts: c.Counts,
	})
	a := &again{engines: make(map[string]*engineRun), emitted: make(map[string]*[stream.Partitions][]sum), entities: make(map[sum]int), rows: make(map[string][]byte)}
	if a.outputs, err = newEngineRun(cluster, filterEngine); err != nil {
		return nil, err
	}
	for _, engine := range []stream.Engine{
		filterEngine, profile.Engine(c, nil), history.Engine(c, nil), trending.Engine(c, nil), entity.Engine(c, nil),
	} {
		if a.engines[engine.Name], err = newEngineRun(cluster, engine); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func newEngineRun(cluster stream.Cluster, engine stream.Engine) (*engineRun, error) {
	r := &engineRun{engine: engine, state: make(map[string][]byte)}
	var err error
	for p := range r.tasks {
		r.tasks[p] = cluster.NewTask(int32(p))
		if r.processors[p], err = engine.Open(r.tasks[p]); err != nil {
			return nil, fmt.Errorf("opening %s: %w", engine.Name, err)
		}
	}
	return r, nil
}

// feed gives the engine a record of its input.
func (r *engineRun) feed(rec stream.Record) error {
	if err := r.processors[rec.Partition].Process(&rec); err != nil {
		return fmt.Errorf("running %s again: %w", r.engine.Name, err)
	}
	const atOnce = 2000
	if r.unflushed++; r.unflushed >= atOnce {
		return r.flush()
	}
	return nil
}

// flush folds what the tasks changed.
func (r *engineRun) flush() error {
	r.unflushed = 0
	for p, task := range r.tasks {
		for _, change := range task.Changes() {
			key := string(append([]byte{byte(p)}, change.Key...))
			if change.Value == nil {
				delete(r.state, key)
				continue
			}
			r.state[key] = bytes.Clone(change.Value)
		}
		if err := task.Err(); err != nil {
			return err
		}
	}
	return nil
}

// take gives the filter a record of the log.
func (a *again) take(rec stream.Record) error {
	if err := a.engines["filter"].feed(rec); err != nil {
		return err
	}
	if err := a.outputs.processors[rec.Partition].Process(&rec); err != nil {
		return err
	}
	for _, e := range a.outputs.tasks[rec.Partition].Take() {
		a.emit(e)
	}
	return a.outputs.tasks[rec.Partition].Err()
}

func (a *again) emit(e stream.Emitted) {
	switch e.Topic {
	case topics.Entities:
		a.entities[sumOf(e.Key, e.Value)]++
	case topics.Consent:
		if len(e.Key) > 0 && e.Key[0] == 'r' {
			a.rows[string(e.Key)] = e.Value
		}
	default:
		at := a.emitted[e.Topic]
		if at == nil {
			at = new([stream.Partitions][]sum)
			a.emitted[e.Topic] = at
		}
		at[e.Partition] = append(at[e.Partition], sumOf(e.Key, e.Value))
	}
}
