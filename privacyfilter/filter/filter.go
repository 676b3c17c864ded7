// Package filter is the processor of sluice.events. It deduplicates, keeps the ledger of choices, admits each event to the purposes that may have it, and
// projects it to them. It decides from a record's place in its partition and from nothing else, so that processing a record again decides the same.
package filter

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// Options of the filter.
type Options struct {
	Register       *privacyfilter.Register
	Ring           *seal.Keyring
	Keys           *pseudonym.Keys
	Generation     uint32                // of the log, from 1; the first part of every revision
	Registerer     prometheus.Registerer // nil = no metrics
	TrendingWindow time.Duration         // of the contributor keys
	TrendingKept   int                   // windows that the trending engine keeps
	TrendingAge    time.Duration         // how long ago a person must have accepted the policy for lists that everyone sees to count what they do
	// Counts tells whether a feature counts events of the type for entities of the kind (its kind byte). Others are not sent to entities at all:
	// what nobody counts is not kept. nil: all are sent.
	Counts func(kind byte, t vocab.Type) bool
}

// Tables of the engine. Their ids stand in the changelog, so they are never used for anything else.
const (
	tableLedger    = 1 // log pseudonym → ConsentRow
	tableDedupe    = 2 // log pseudonym → head
	tableChunks    = 3 // log pseudonym ‖ hour ‖ n → hashes
	tableRuns      = 4 // run ‖ block → two bits a row
	tableMarks     = 5 // mark → number
	tableClock     = 6
	tableDeletions = 7 // log pseudonym → deletions
	tableDue       = 8 // what expires when
	tableBlocks    = 9 // log pseudonym ‖ chunk → BlockRecords
)

// Sizes and periods.
const (
	recordVersion = 1
	hour          = time.Hour
	dedupeHours   = 7 * 24 // an accepted event is known for at least this long, in received time
)

// Engine is the filter as an engine of the stream runtime. Its Open fails where an option is missing.
func Engine(o Options) stream.Engine {
	m := newMetrics(o.Registerer)
	return stream.Engine{Name: "filter", Inputs: []string{topics.Events}, Open: func(t *stream.Task) (stream.Processor, error) {
		if err := o.check(); err != nil {
			return nil, err
		}
		return open(o, m, t), nil
	}}
}

func (o *Options) check() error {
	switch {
	case o.Register == nil || o.Ring == nil || o.Keys == nil:
		return errors.New("filter: there must be a register, a ring and keys")
	case o.Generation == 0:
		return errors.New("filter: the generation must be at least 1")
	case o.TrendingWindow < time.Second || o.TrendingKept < 1:
		return errors.New("filter: the trending window must be at least a second, and at least one must be kept")
	}
	return nil
}

func open(o Options, m *metrics, t *stream.Task) *filter {
	f := &filter{
		Options: o, metrics: m, task: t,
		ledger:    stream.OpenTable(t, tableLedger, "ledger", rowCodec{}),
		blocks:    stream.OpenTable[privacyfilter.BlockRecords](t, tableBlocks, "blocks", blocksCodec{}),
		marks:     stream.OpenTable[int64](t, tableMarks, "marks", numberCodec{}),
		clock:     stream.OpenClock(t, tableClock, hour),
		projector: NewProjector(o.Register, o.Keys),
		shapes:    privacyfilter.NewShapes(o.Register),
		held:      make([]bool, len(o.Register.Purposes())),
	}
	f.dedupe = openDedupe(t)
	f.runs = stream.OpenTable[block](t, tableRuns, "runs", blockCodec{})
	f.deletions = stream.OpenTable[deletions](t, tableDeletions, "deletions", deletionsCodec{})
	f.deletionDays = deletionDays(o.Register)
	f.due = stream.OpenDue(t, tableDue, dueBytes)
	f.readHour()
	for i, name := range streamed {
		if p, ok := o.Register.Purpose(name); ok {
			f.purposes[i], f.horizons.kept[i] = p, o.Register.Retention(p.Retention).Microseconds()
		}
	}
	f.horizons.read(f.marks)
	f.scratch.init()
	t.AtEnd(func(committed bool) {
		m.add(&f.counts, committed)
		if !committed {
			f.readHour()
			f.horizons.read(f.marks)
		}
	})
	return f
}

// filter is the processor of one partition. One goroutine owns it.
type filter struct {
	Options
	*metrics
	counts    counts
	task      *stream.Task
	ledger    *stream.Table[purposepb.ConsentRow]
	blocks    *stream.Table[privacyfilter.BlockRecords]
	dedupe    dedupe
	runs      *stream.Table[block]
	marks     *stream.Table[int64]
	clock     *stream.Clock
	projector *Projector
	shapes    *privacyfilter.Shapes
	purposes  [len(streamed)]*privacyfilter.Purpose // nil: not in the register, so denied

	deletions    *stream.Table[deletions]
	deletionDays int64 // that a deletion is remembered
	horizons     horizons
	due          *stream.Due
	hour         uint32 // of stream time
	expiring     bool   // something may be due

	record  eventpb.LogRecord // its bytes lie in the stream's record
	ev      eventpb.Event     // of the record; its strings lie in body or in the record, so that nobody keeps them beyond this event
	body    []byte            // the next event takes its memory
	subject []byte
	row     privacyfilter.Row // of the event's subject
	encoded []byte            // of a row that the open transaction has changed
	held    []bool            // by purpose: what held before a control record
	scratch scratch
}

// streamed are the purposes that events are projected to, in the order of their counters.
var streamed = [...]string{privacyfilter.History, privacyfilter.Trending, privacyfilter.Personalize, privacyfilter.Risk}

// Places in streamed.
const (
	history = iota
	trending
	personalize
	risk
)

// Process handles one record of sluice.events. Whatever is wrong with a record becomes a dead letter; an error means that the engine itself is broken.
func (f *filter) Process(rec *stream.Record) error {
	lr := &f.record
	*lr = eventpb.LogRecord{}
	if err := lr.UnmarshalVTUnsafe(rec.Value); err != nil || lr.Version != recordVersion || len(rec.Key) != pseudonym.Size {
		return f.reject(rec, lr, fault{"unreadable_record", "must be a record of the log, version 1"})
	}
	switch lr.Kind {
	case eventpb.LogRecord_EVENT:
		return f.event(rec, lr)
	case eventpb.LogRecord_CONTROL:
		return f.control(rec, lr)
	default:
		return f.reject(rec, lr, fault{"unknown_kind", "must be an event or a control record"})
	}
}

// event settles one event. What is known already is not even unsealed.
func (f *filter) event(rec *stream.Record, lr *eventpb.LogRecord) error {
	if f.rowSettled(lr) {
		f.counts.count(duplicate)
		return nil
	}
	if f.dedupe.has(rec.Key, lr.Dedupe, f.cutoff()) {
		f.settleRow(lr, rowDuplicate)
		f.counts.count(duplicate)
		return nil
	}
	if err := f.readRow(rec.Key); err != nil {
		return err
	}
	in, flaw := f.openEvent(rec, lr)
	if flaw != nil {
		return f.reject(rec, lr, *flaw)
	}
	f.advance(min(in.ev.Time, lr.ReceivedAt))
	in.deleted = f.isDeleted(rec.Key, lr.Dedupe)
	admitted, expired, err := f.admitAndEmit(&in)
	switch {
	case err != nil:
		return err
	case !admitted && expired:
		return f.rejectExpired(rec, lr)
	case !admitted:
		f.settleRow(lr, rowDenied)
		f.counts.events[denied]++
		return nil
	}
	f.remember(rec.Key, lr.Dedupe, hourOf(lr.ReceivedAt))
	f.settleRow(lr, rowAccepted)
	f.counts.events[allowed]++
	return nil
}

// input is an event with all that its admission and projection need.
type input struct {
	rec      *stream.Record
	lr       *eventpb.LogRecord
	ev       *eventpb.Event
	row      *privacyfilter.Row // of the subject
	who      who
	decision []byte

	revision privacyfilter.Revision // that the client knew at capture, zero if it told none that counts
	captured int64                  // no later than the capture, by the collector's clock
	dated    bool                   // captured is known
	deleted  bool                   // by the subject, when it came before
}

func (f *filter) openEvent(rec *stream.Record, lr *eventpb.LogRecord) (in input, flaw *fault) {
	body, err := ingest.OpenBody(f.Ring, rec.Key, lr, f.body)
	if err != nil {
		return in, sealedFault(err)
	}
	if lr.KeyId != 0 { // else it lies in the record
		f.body = body
	}
	ev := &f.ev
	ev.ResetVT()
	if err := ev.UnmarshalVTUnsafe(body); err != nil {
		return in, &fault{"undecodable", "the body must be a protobuf Event"}
	}
	subject := f.subjectOf(ev)
	if subject == "" || ev.Id == "" {
		return in, &fault{"missing_field", "must be an event with an id and a subject"}
	}
	in = input{rec: rec, lr: lr, ev: ev, row: &f.row}
	in.who = who{subject: subject, incarnation: f.row.Row.Incarnation, event: pseudonym.EventHashOf(rec.Key, lr.Dedupe)}
	if len(lr.Decision) > 0 {
		if in.decision, err = f.Ring.Unseal(lr.KeyId, lr.Decision, rec.Key); err != nil {
			return in, sealedFault(err)
		}
	}
	in.revision = f.namedRevision(rec, ev)
	in.captured, in.dated = capturedAt(lr, ev)
	return in, nil
}

// readRow reads the row of an event's subject from the bytes that the ledger holds.
func (f *filter) readRow(key []byte) error {
	changed, data := f.ledger.Look(key)
	if changed != nil {
		f.encoded = privacyfilter.AppendRow(f.encoded[:0], changed)
		data = f.encoded
	}
	if err := f.shapes.Read(&f.row, data); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	return nil
}

// subjectOf is the event's subject, in memory that the next event takes. Nobody keeps it: pseudonyms are known by fingerprints.
func (f *filter) subjectOf(ev *eventpb.Event) string {
	f.subject = ingest.AppendSubject(f.subject[:0], ev)
	return unsafe.String(unsafe.SliceData(f.subject), len(f.subject))
}

// admitAndEmit gives the event to every purpose that may have it and keeps it. It tells whether one did, and whether one would have had it but for its age.
func (f *filter) admitAndEmit(in *input) (admitted, expired bool, err error) {
	at := min(in.ev.Time, in.lr.ReceivedAt)
	for i, p := range f.purposes {
		grant, ok := f.admits(p, in)
		if !ok {
			f.counts.byPurpose[i][denied]++
			continue
		}
		if !f.horizons.see(f.marks, i, at) {
			f.counts.byPurpose[i][rejected]++
			expired = true
			continue
		}
		if err := f.emit(i, in, grant); err != nil {
			return false, false, err
		}
		f.counts.byPurpose[i][allowed]++
		admitted = true
	}
	return admitted, expired, nil
}

// remember keeps the event's hash, so that it is known when it comes again.
func (f *filter) remember(subject []byte, hash uint64, received uint32) {
	received = max(received, f.cutoff()) // or it would be forgotten at once
	if f.dedupe.add(subject, hash, received) {
		f.expires(dueAccepted, subject, received+dedupeHours)
	}
}

// Marks are single numbers of a partition.
var (
	markWindow = []byte{'w'}                                                                             // start of the newest trending window that an event went to, Unix microseconds
	markDays   = [len(streamed)][]byte{{'d', history}, {'d', trending}, {'d', personalize}, {'d', risk}} // newest day of an event that the purpose was given
)

func (f *filter) raiseMark(key []byte, n int64) {
	if mark := f.marks.Get(key); mark == nil || n > *mark {
		*f.marks.Mutate(key) = n
	}
}

// hourOf is the hour since 1970 of a time in Unix microseconds, 0 for any before.
func hourOf(micros int64) uint32 {
	return uint32(max(0, min(micros/hour.Microseconds(), 1<<32-2)))
}
