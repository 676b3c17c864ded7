package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// RunnerOptions says where a runner keeps its state and how it is watched.
type RunnerOptions struct {
	Node            string        // stable name of this process; part of the transactional id, so that a restart fences its predecessor
	Stores          []*Store      // checkpoints, one an engine, in the order of the role's
	CheckpointEvery time.Duration // how much of a changelog a crash may have to read again; 15 s if 0
	DeleteRetention time.Duration // delete.retention.ms of the changelogs: an older checkpoint starts from nothing; 24 h if 0
	Journal         Journal       // of the embedded broker; nil on Apache Kafka
	Logger          *slog.Logger
	Registerer      prometheus.Registerer
}

const (
	pollRecords = 5000 // at most, in one transaction; a pack counts as one
	// fetchBytes are taken of a partition at most, in one fetch: what packs hold is bounded by it. The fetch as a whole has the bound that the cluster's clients
	// have: internal/broker says why.
	fetchBytes         = 1 << 20
	commitGap          = 5 * time.Millisecond   // at least, between the ends of two transactions
	longestRest        = 250 * time.Millisecond // after a transaction
	longTransaction    = 50 * time.Millisecond  // makes what was fetched before it stale
	refetch            = 10 * time.Millisecond  // for a fetch of records that are there
	transactionTimeout = 10 * time.Second       // after which the broker aborts a dead member's transaction
	// fetchWait is how long a broker may hold the answer to a fetch while nothing comes. What comes is answered at once; every idle client asks every broker
	// anew this often, which is what a cluster at rest is busy with.
	fetchWait = time.Second
	// produceLinger is longer than it takes to produce a transaction's records. The flush cuts it short, so each broker gets one request. Each further request
	// would cost the transaction coordinator a replicated write of its own, to add its partitions (KIP-890).
	produceLinger  = time.Second
	sessionTimeout = 10 * time.Second       // after which the group takes a silent member's partitions
	idlePoll       = 500 * time.Millisecond // so that checkpoints are written without input
)

// Runner runs a role's tasks. It reads the assigned input partitions, and commits outputs, changelogs and input offsets of all its tasks in one transaction at
// a time. It is crash-only: any error from ending a transaction closes the session, and the next session starts as a new process would.
//
//	poll ─▶ open what was assigned ─▶ process and produce, task beside task ─▶ flush ─▶ end ─▶ checkpoint tasks that are due ─▶ poll
type Runner struct {
	cluster Cluster
	role    Role
	o       RunnerOptions
	metrics *runnerMetrics
	doubt   *doubt // of the last session, until the next one has settled it

	mu     sync.Mutex // guards status
	status Status
}

// Status is what a runner tells about itself.
type Status struct {
	Joined bool  // the group has given it its partitions, and their state is restored
	Tasks  int   // open tasks
	Lag    int64 // records of the last fetch that are still to be processed
}

// NewRunner makes a runner; Run starts it. It panics if the role's engines and stores are not of one number: that is a mistake in the calling program.
func NewRunner(cluster Cluster, role Role, o RunnerOptions) *Runner {
	if len(role.Engines) != len(o.Stores) {
		panic(fmt.Sprintf("stream: role %s: %d engines with %d stores", role.Name, len(role.Engines), len(o.Stores)))
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 15 * time.Second // a person who comes several times in it is written once
	}
	if o.DeleteRetention == 0 {
		o.DeleteRetention = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	return &Runner{cluster: cluster, role: role, o: o, metrics: newRunnerMetrics(o.Registerer, role)}
}

// Status is the runner's present state.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Run works until ctx ends or something fails that a new session cannot mend (a processor's error, a broken record).
func (r *Runner) Run(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := time.Now()
		err := r.session(ctx)
		r.setStatus(Status{})
		if ctx.Err() != nil {
			return nil
		}
		if fatal := (*processError)(nil); errors.As(err, &fatal) {
			return fmt.Errorf("running %s: %w", r.role.Name, err)
		}
		r.metrics.restarts.Inc()
		r.o.Logger.Warn("a member of the stream failed and starts anew", "role", r.role.Name, "error", err)
		if time.Since(began) > time.Minute {
			wait = 50 * time.Millisecond
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// processError is an error of the engine itself: reading the same records again would give it again.
type processError struct{ error }

func (e *processError) Unwrap() error { return e.error }

// session is one life as a member of the group.
type session struct {
	*Runner
	kafka     *kgo.GroupTransactSession
	name      string // that no other session has
	begun     int    // transactions that were to be committed
	tasks     map[place]*liveTask
	inputs    map[string]input // by full topic
	working   []*liveTask      // with records in the open transaction
	processed int              // entries in the last transaction: a pack counts as what it holds
	took      time.Duration    // by the last transaction, with its checkpoint; 0 if none since the last poll
	noted     chan struct{}    // has something after a change of the assignment
	feed      feedWriter

	mu      sync.Mutex // guards the fields below
	changes []change
	joined  bool // the group has assigned something, perhaps nothing: there may be more members than partitions
}

// input is a topic that an engine reads.
type input struct {
	engine int    // place in the role
	short  string // the topic's short name
}

// place is where a task belongs: an engine of the role, and a partition of its inputs.
type place struct {
	engine    int
	partition int32
}

// change is one step of the group's assignment.
type change struct {
	place
	assigned bool
}

// liveTask is a task with its processor and its place in the changelog.
type liveTask struct {
	*Task
	engine       int // place in the role
	processor    Processor
	store        *partitionStore
	changelog    string            // full name of the topic
	topics       map[string]string // short name of an output topic → full name
	next         int64             // changelog offset after the last committed record
	saving       saving            // the checkpoint that is being written
	checkpointed time.Time         // when the last checkpoint began
	served       time.Time         // when pieces of one were last written, or room was made
	unsaved      bool              // the checkpoint lacks something, and none is being written that has it

	// Of the open transaction.
	fetched   []piece
	processed int // entries of what was fetched
	outputs   []kgo.Record
	keys      []byte // of the changelog records
	changes   int    // place in outputs of the first changelog record
	produced  int64  // as next, if it commits; 0 if the task changed nothing
}

func (r *Runner) session(ctx context.Context) (err error) {
	s := &session{Runner: r, name: rand.Text(), tasks: make(map[place]*liveTask), inputs: make(map[string]input), noted: make(chan struct{}, 1), feed: r.cluster.Feed.writer()}
	if s.kafka, err = s.join(); err != nil {
		return err
	}
	defer s.close()
	// Taking over the transactional id ends a dead predecessor's transaction now: its pending offsets would hold up the group until they time out.
	if _, _, err := s.kafka.Client().ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over the transactional id: %w", err)
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	return s.saveTasks()
}

func (s *session) close() {
	for _, t := range s.tasks {
		t.close()
	}
	s.kafka.Close()
}

func (s *session) join() (*kgo.GroupTransactSession, error) {
	for i, engine := range s.role.Engines {
		for _, name := range engine.Inputs {
			s.inputs[s.cluster.Topic(name)] = input{i, name}
		}
	}
	return kgo.NewGroupTransactSession(s.cluster.with([]kgo.Opt{
		kgo.ConsumerGroup(s.cluster.Topic(s.role.Name)),
		kgo.InstanceID(s.member()), // a restarted process takes its predecessor's place at once
		kgo.TransactionalID(s.member()),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.ConsumeTopics(slices.Collect(maps.Keys(s.inputs))...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),           // so that committed offsets reach the high watermark, and a lag of 0 means that nothing is left
		kgo.Balancers(kgo.RangeBalancer()), // co-partitions several inputs; sticky does not
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(produceLinger),
		kgo.MetadataMinAge(10 * time.Millisecond), // a produce that comes while the last transaction is being completed is tried again after a metadata update, not after 5 s
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.SessionTimeout(sessionTimeout),
		kgo.RebalanceTimeout(sessionTimeout), // nobody waits longer for a dead member, nor does a client that closes meanwhile
		kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { s.note(p, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { s.note(p, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { s.note(p, false) }),
	})...)
}

// member is this process's name in the group, and its transactional id.
func (s *session) member() string { return s.cluster.Topic(s.role.Name) + "-" + s.o.Node }

// note remembers a change of the assignment for the owner of the tasks, who acts on it before the next record.
func (s *session) note(partitions map[string][]int32, assigned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = assigned // lost partitions and not yet assigned others: not a member
	for topic, ps := range partitions {
		for _, p := range ps {
			s.changes = append(s.changes, change{place{s.inputs[topic].engine, p}, assigned})
		}
	}
	select {
	case s.noted <- struct{}{}:
	default:
	}
}

func (s *session) step(ctx context.Context) error {
	fetches := s.poll(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err := fetchError(fetches); err != nil {
		return err
	}
	if err := s.reassign(ctx); err != nil {
		return err
	}
	if fetches.NumRecords() > 0 {
		began := time.Now()
		if err := s.transact(ctx, fetches); err != nil {
			return err
		}
		if err := errors.Join(s.checkpoint(checkpointSlice), s.makeRoom()); err != nil {
			return err
		}
		s.took = time.Since(began)
		if s.processed < pollRecords { // else there is a backlog
			pause(ctx, restAfter(s.took))
		}
		return nil
	}
	return s.checkpoint(checkpointSlice)
}

// poll waits for records. A client has fetched its next records at the end of the last poll. After a long transaction they are old, and newer ones would wait
// for the transaction after this one. So a second poll takes what the first one made the client fetch.
func (s *session) poll(ctx context.Context) kgo.Fetches {
	waiting, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	fetches := s.kafka.PollRecords(waiting, pollRecords)
	left := pollRecords - fetches.NumRecords()
	if s.took < longTransaction || left <= 0 || len(fetches.Errors()) > 0 || !pause(ctx, refetch) {
		return fetches
	}
	s.took = 0
	once, end := context.WithTimeout(ctx, time.Millisecond) // no wait, but one that has ended would give nothing
	defer end()
	return append(fetches, s.kafka.PollRecords(once, left)...)
}

// restAfter is how long the runner rests after a transaction, so that more records share the next one. On the embedded broker a transaction takes a
// millisecond, and the ends of two are commitGap apart. On a cluster each transaction costs the brokers a marker in every partition that it wrote, on every
// replica. A runner that never rests saturates them, and then waits for itself.
func restAfter(took time.Duration) time.Duration {
	return max(commitGap-took, min(took-commitGap, longestRest))
}

// fetchError is the first error of a poll that is not about its deadline.
func fetchError(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
			continue
		}
		return fmt.Errorf("fetching %s/%d: %w", e.Topic, e.Partition, e.Err)
	}
	return nil
}

// reassign opens and closes tasks as the group said. It relies on the assignment, since the callback of a revocation may be skipped. A task that is assigned
// again may have been another member's meanwhile, and is opened anew.
func (s *session) reassign(ctx context.Context) error {
	s.mu.Lock()
	changes := s.changes
	s.changes = nil
	joined := s.joined
	s.mu.Unlock()
	if len(changes) == 0 {
		if joined && !s.Status().Joined {
			s.setStatus(Status{Joined: true, Tasks: len(s.tasks)})
		}
		return nil
	}
	assigned := make(map[place]bool)
	for _, c := range changes {
		if t := s.tasks[c.place]; t != nil {
			t.close() // what its checkpoint lacks, the changelog has
			delete(s.tasks, c.place)
		}
		assigned[c.place] = c.assigned
	}
	open := make([][]int32, len(s.role.Engines))
	for at, yes := range assigned {
		if yes {
			open[at.engine] = append(open[at.engine], at.partition)
		}
	}
	return s.openTasks(ctx, open)
}

// openTasks restores and opens the partitions of each engine.
func (s *session) openTasks(ctx context.Context, partitions [][]int32) error {
	if fenced, err := s.fenceDead(ctx); err != nil {
		s.o.Logger.Warn("could not end the transactions of dead members; the brokers will, after a while", "role", s.role.Name, "error", err)
	} else if len(fenced) > 0 {
		s.o.Logger.Info("ended the transactions of dead members", "role", s.role.Name, "ids", fenced)
	}
	opened := make([][]*liveTask, len(partitions))
	opening, openingCtx := errgroup.WithContext(ctx)
	for i := range partitions {
		opening.Go(func() (err error) {
			opened[i], err = s.openEngine(openingCtx, i, partitions[i])
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	for i, tasks := range opened {
		for _, t := range tasks {
			s.tasks[place{i, t.Partition}] = t
		}
	}
	s.setStatus(Status{Joined: s.assigned(), Tasks: len(s.tasks)})
	s.o.Logger.Info("the group has assigned partitions", "role", s.role.Name, "tasks", len(s.tasks))
	return nil
}

// openEngine restores and opens partitions of the engine at a place of the role.
func (s *session) openEngine(ctx context.Context, i int, partitions []int32) ([]*liveTask, error) {
	began := time.Now()
	engine, store := s.role.Engines[i], s.o.Stores[i]
	restored, err := restore(ctx, s.cluster, engine.Changelog(), store, partitions, s.o.DeleteRetention)
	if err != nil {
		return nil, fmt.Errorf("restoring %s: %w", engine.Name, err)
	}
	tasks := make([]*liveTask, len(partitions))
	for n, p := range partitions {
		part := store.forPartition(p)
		t := &liveTask{
			Task: &Task{Partition: p, partitions: s.cluster.PartitionCount(), store: part}, engine: i, store: part, next: restored[p], checkpointed: time.Now(),
			changelog: s.cluster.Topic(engine.Changelog()), topics: make(map[string]string),
		}
		if t.processor, err = engine.Open(t.Task); err == nil {
			err = t.Err()
		}
		if err != nil {
			return nil, &processError{fmt.Errorf("opening partition %d of %s: %w", p, engine.Name, err)}
		}
		tasks[n] = t
	}
	took := time.Since(began)
	s.metrics.engines[i].restore.Set(took.Seconds())
	if len(partitions) > 0 {
		s.o.Logger.Info("the engine has restored its state", "engine", engine.Name, "partitions", len(partitions), "took", took.Round(time.Millisecond).String())
	}
	return tasks, nil
}

// assigned tells whether the group's last word was an assignment.
func (s *session) assigned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joined
}

func (r *Runner) setStatus(status Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// pause waits for d; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
