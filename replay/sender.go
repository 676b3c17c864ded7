package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maxRows  = 1_000
	maxBytes = 4 << 20 // a request may hold 5 MiB; an event 32 KiB
)

// batch is one request's rows, with what is needed to make a dead letter of each.
type batch struct {
	body  []byte
	rows  []int64 // numbers in the run, from 1
	at    []int64 // of each row: its place in the file
	file  origin
	ends  []int    // of each row's cells
	cells []string // of all rows, one after the other
	about []About
	names []string // the columns
}

func (b *batch) reset(file origin, names []string) {
	clear(b.cells)
	clear(b.about)
	b.body, b.rows, b.at, b.ends, b.cells, b.about = b.body[:0], b.rows[:0], b.at[:0], b.ends[:0], b.cells[:0], b.about[:0]
	b.file, b.names = file, names
}

func (b *batch) add(row, at int64, m *Mapped, cells []string) {
	b.body = append(b.body, `{"row":`...)
	b.body = strconv.AppendInt(b.body, row, 10)
	b.body = append(b.body, `,"event":`...)
	b.body = append(b.body, m.Event...)
	b.body = append(b.body, '}', '\n')
	b.rows = append(b.rows, row)
	b.at = append(b.at, at)
	b.cells = append(b.cells, cells...)
	b.ends = append(b.ends, len(b.cells))
	b.about = append(b.about, m.About)
}

func (b *batch) row(i int) []string {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.cells[from:b.ends[i]]
}

// counts is what the rows sent so far came to, before the filter.
type counts struct{ appended, denied, rejected int64 }

// sender shares the rows out among workers. All rows of a subject go through one worker, and a worker sends its batches one after the other.
type sender struct {
	r       *replay
	seed    maphash.Seed
	open    [connections]*batch
	work    [connections]chan *batch
	free    chan *batch
	counted struct{ appended, denied, rejected atomic.Int64 }
}

// queued is how many batches may wait for a worker; the reader blocks when they are full.
const queued = 2

// send reads all files and returns when every row is answered.
func (r *replay) send(ctx context.Context) (counts, error) {
	s := &sender{r: r, seed: maphash.MakeSeed(), free: make(chan *batch, connections*(queued+2))}
	group, working := errgroup.WithContext(ctx)
	for i := range s.work {
		s.work[i] = make(chan *batch, queued)
		group.Go(func() error { return s.worker(working, s.work[i]) })
	}
	group.Go(func() error {
		defer func() {
			for i := range s.work {
				close(s.work[i])
			}
		}()
		return s.read(working)
	})
	err := group.Wait()
	if flushed := r.letters.flush(ctx); err == nil {
		err = flushed
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return counts{s.counted.appended.Load(), s.counted.denied.Load(), s.counted.rejected.Load()}, err
}

// read reads one input after the other. One that breaks off ends the reading, and not the run: what was read of it is accounted for first.
func (s *sender) read(ctx context.Context) error {
	for _, in := range s.r.inputs {
		err := s.file(ctx, in)
		if broken := (*brokenError)(nil); errors.As(err, &broken) && ctx.Err() == nil {
			s.r.broken = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// brokenError is an input that could be read in part.
type brokenError struct {
	name string
	rows int64 // that were read
	err  error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%s: must be whole: %v; %s of it were read and are accounted for, nothing behind them", e.name, e.err, plural(int(e.rows), "row"))
}

func (e *brokenError) Unwrap() error { return e.err }

func (s *sender) file(ctx context.Context, in input) error {
	name := in.name
	file, err := s.r.o.open(ctx, in)
	if err != nil {
		return err
	}
	if file.detected != "" {
		s.r.o.notef("%s %s", name, file.detected)
	}
	err = s.rows(ctx, name, file)
	for _, column := range s.r.o.Map.Unmapped(file.Columns()) {
		s.r.account.Unmapped = append(s.r.account.Unmapped, name+": "+column)
	}
	if closed := file.Close(); err == nil { // a file that broke off says so once more
		err = closed
	}
	return err
}

func (s *sender) rows(ctx context.Context, name string, file *source) error {
	if file.empty() {
		return nil
	}
	r := s.r
	columns := file.Columns()
	if err := r.mapper.bind(name, file); err != nil {
		return err
	}
	from := origin{name, file.unit()}
	for {
		cells, err := file.Read()
		if errors.Is(err, io.EOF) {
			return s.dispatchAll(ctx) // the next file may have other columns
		}
		var bad *BadRow
		if err != nil && !errors.As(err, &bad) {
			return errors.Join(&brokenError{name, file.rows, err}, s.dispatchAll(ctx))
		}
		r.account.Read++
		if r.account.Read%maxRows == 0 {
			r.bar.show(file.done, r.account.Read)
		}
		if bad != nil {
			if err := s.reject(ctx, &letter{Fault: bad.Fault, row: r.account.Read, place: from.place(file.at()), text: bad.Payload}); err != nil {
				return err
			}
			continue
		}
		if all := file.Columns(); len(all) > len(columns) {
			columns = all
			if err := r.mapper.bind(name, file); err != nil {
				return err
			}
			if err := s.dispatchAll(ctx); err != nil { // batches keep one list of names
				return err
			}
		}
		if err := s.row(ctx, from, file.at(), columns, cells); err != nil {
			return err
		}
	}
}

// row maps one row and puts it into its worker's batch.
func (s *sender) row(ctx context.Context, from origin, at int64, columns, cells []string) error {
	r := s.r
	mapped, fault := r.mapper.Map(cells)
	if fault != nil {
		if err := r.mapper.condemn(from.place(at), cells, fault); err != nil && !r.pacer.dated {
			r.account.Read-- // nothing becomes of the row
			return err
		}
		if r.imports != nil {
			r.imports.note(&mapped.About) // or nothing of theirs could be kept
		}
		return s.reject(ctx, &letter{Fault: *fault, row: r.account.Read, place: from.place(at), names: columns, cells: cells, about: mapped.About})
	}
	if wait := r.pacer.wait(mapped.Time); wait > 0 {
		if err := s.dispatchAll(ctx); err != nil {
			return err
		}
		if err := r.client.pause(ctx, wait); err != nil {
			return err
		}
	}
	if r.imports != nil {
		r.imports.note(&mapped.About)
	}
	worker := s.workerOf(&mapped.About)
	b := s.open[worker]
	if b == nil {
		b = s.take(from, columns)
		s.open[worker] = b
	}
	b.add(r.account.Read, at, &mapped, cells)
	if len(b.rows) >= maxRows || len(b.body) >= maxBytes {
		return s.dispatch(ctx, worker)
	}
	return nil
}

// origin is where rows come from: a file, and what is counted in it.
type origin struct{ name, unit string }

func (o origin) place(n int64) string { return o.name + " " + o.unit + " " + strconv.FormatInt(n, 10) }

// workerOf is the worker of a row's subject.
func (s *sender) workerOf(a *About) int {
	if a.UserID != "" {
		return int(maphash.String(s.seed, a.UserID) % connections)
	}
	return int(maphash.String(s.seed, a.AnonymousID) % connections)
}

func (s *sender) take(from origin, columns []string) *batch {
	var b *batch
	select {
	case b = <-s.free:
	default:
		b = new(batch)
	}
	b.reset(from, columns)
	return b
}

// dispatch hands a worker its batch, after the imports of everyone whom it names.
func (s *sender) dispatch(ctx context.Context, worker int) error {
	if s.r.imports != nil {
		if err := s.r.imports.flush(ctx); err != nil {
			return err
		}
	}
	b := s.open[worker]
	s.open[worker] = nil
	select {
	case s.work[worker] <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sender) dispatchAll(ctx context.Context) error {
	for worker, b := range s.open {
		if b == nil {
			continue
		}
		if err := s.dispatch(ctx, worker); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) worker(ctx context.Context, work <-chan *batch) error {
	for b := range work {
		if err := s.post(ctx, b); err != nil {
			return err
		}
		select {
		case s.free <- b:
		default:
		}
	}
	return nil
}

// answer is what POST /v1/replays/{run}/events says.
type answer struct {
	Accepted   int64      `json:"accepted"`
	Denied     int64      `json:"denied"`
	Rejected   int64      `json:"rejected"`
	DeniedRows []int64    `json:"denied_rows"`
	Errors     []rowError `json:"errors"`
}

type rowError struct {
	Row     int64  `json:"row"`
	Code    string `json:"code"`
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func (s *sender) post(ctx context.Context, b *batch) error {
	var a answer
	err := s.r.client.post(ctx, "/v1/replays/"+s.r.account.Run+"/events", b.body, &a)
	var final *StatusError
	if errors.As(err, &final) && final.Status == http.StatusUnprocessableEntity && json.Unmarshal(final.body, &a) == nil && a.Rejected > 0 {
		err = nil // nothing accepted, something rejected: the same members
	}
	if err != nil {
		return fmt.Errorf("sending rows %d to %d: %w", b.rows[0], b.rows[len(b.rows)-1], err)
	}
	if n := a.Accepted + a.Denied + a.Rejected; n != int64(len(b.rows)) || a.Rejected != int64(len(a.Errors)) {
		return fmt.Errorf("sending rows %d to %d: the server accounts for %d of %d rows, with %d errors for %d rejected",
			b.rows[0], b.rows[len(b.rows)-1], n, len(b.rows), len(a.Errors), a.Rejected)
	}
	s.counted.appended.Add(a.Accepted)
	s.counted.denied.Add(a.Denied)
	return s.rejected(ctx, b, a.Errors)
}

// rejected makes dead letters of the rows that the server refused.
func (s *sender) rejected(ctx context.Context, b *batch, faults []rowError) error {
	for _, f := range faults {
		i, sent := slices.BinarySearch(b.rows, f.Row)
		if !sent {
			return fmt.Errorf("sending rows %d to %d: the server names row %d, which was not sent", b.rows[0], b.rows[len(b.rows)-1], f.Row)
		}
		l := &letter{
			Fault: Fault{Code: f.Code, Pointer: f.Pointer, Detail: f.Detail}, row: f.Row, place: b.file.place(b.at[i]), names: b.names, cells: b.row(i), about: b.about[i],
		}
		if err := s.reject(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) reject(ctx context.Context, l *letter) error {
	s.counted.rejected.Add(1)
	return s.r.letters.add(ctx, l)
}

// pacer holds rows back to the pace of their times.
type pacer struct {
	speed float64
	now   func() time.Time
	start time.Time
	first int64
	dated bool // a time was read
}

// shortestWait keeps rows that are close together in one batch.
const shortestWait = 20 * time.Millisecond

func newPacer(speed float64) *pacer { return &pacer{speed: speed, now: time.Now} }

// wait is how long the row with the time must be held back.
func (p *pacer) wait(micros int64) time.Duration {
	if !p.dated {
		p.dated, p.start, p.first = true, p.now(), micros
	}
	if p.speed == 0 {
		return 0
	}
	due := time.Duration(float64(micros-p.first) * float64(time.Microsecond) / p.speed)
	if wait := due - p.now().Sub(p.start); wait >= shortestWait {
		return wait
	}
	return 0
}
