// Package replay sends the events of files through a running server: readers for CSV, TSV, JSON lines and Parquet, the map from columns to events,
// and the sender that accounts for every row.
package replay

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Options of a replay.
type Options struct {
	// Events are read one after the other: files; folders and patterns for the Parquet files that they hold, in the order of paths; tables of ClickHouse, as
	// clickhouse.ParseAddress reads them. Rows of the warehouse's own tables need no map but that of Events.
	Events []string
	Items  string // catalogue file (.jsonl or .csv), sent first; empty = none
	Map    *Map

	AcceptPolicy bool     // the people in the files had accepted the policy in force, in their rows' jurisdiction
	Grants       []string // purposes that they had allowed; implies AcceptPolicy
	Speed        float64  // 0 = as fast as the server takes them; 1 = as fast as they happened

	ClickHousePassword string // of the user in the address of a table

	To          string // address of the server
	Key         string // server key
	MaxRejected int64  // more than this is an error, after everything is accounted for

	Stderr io.Writer // for notes, and the progress bar if it is a terminal; nil = none

	HTTP     *http.Client  // nil: one of its own
	RetryFor time.Duration // how long one request is tried; 0 = 2 minutes
}

// Account says what became of every row: Read = Accepted + Duplicate + Denied + Rejected, and + Unsettled where the run did not come to its end.
type Account struct {
	Read      int64   `json:"read"`
	Accepted  int64   `json:"accepted"`
	Duplicate int64   `json:"duplicate"`           // of an event accepted before this run, or of an equal id within it
	Denied    int64   `json:"denied"`              // no purpose may use it
	Rejected  int64   `json:"rejected"`            // invalid: a dead letter
	Unsettled int64   `json:"unsettled,omitempty"` // read, and their outcome not known when the run was interrupted or failed
	Seconds   float64 `json:"seconds"`

	Run      string   `json:"-"` // 16 hex digits: the source of its dead letters
	Unmapped []string `json:"-"` // columns that the map neither uses nor ignores, as "file: column"
}

// ErrTooManyRejected is returned when more rows were rejected than MaxRejected; the account is complete.
var ErrTooManyRejected = errors.New("too many rows rejected")

// ErrNotSettled is returned when the server stopped making progress before everything was settled.
var ErrNotSettled = errors.New("not settled")

// Run replays the files. Errors of the files, the map or the options are *config.Error, before anything is sent where they can be seen before.
// The account counts what is known also when there is an error.
func Run(ctx context.Context, o Options) (Account, error) {
	started := time.Now()
	r, err := newRun(ctx, &o)
	if err != nil {
		return Account{}, err
	}
	err = r.run(ctx)
	if a := &r.account; err != nil {
		a.Unsettled = max(0, a.Read-a.Accepted-a.Duplicate-a.Denied-a.Rejected)
	}
	r.account.Seconds = float64(time.Since(started).Milliseconds()) / 1000
	if err == nil && r.account.Rejected > o.MaxRejected {
		err = fmt.Errorf("%w: %d, at most %d allowed; `sluice dead-letters list` shows why", ErrTooManyRejected, r.account.Rejected, o.MaxRejected)
	}
	return r.account, err
}

// ParseSpeed reads --speed: "max", or a multiple of the events' own pace such as "1x" or "10x".
func ParseSpeed(s string) (float64, error) {
	if s == "max" || s == "" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if err != nil || !strings.HasSuffix(s, "x") || !(speed > 0 && speed <= 1e9) {
		return 0, fileError("--speed", "must be max or a multiple such as 1x")
	}
	return speed, nil
}

// replay is one run.
type replay struct {
	o       *Options
	inputs  []input
	client  *client
	mapper  *Mapper
	account Account
	letters *letters
	imports *imports
	pacer   *pacer
	bar     *bar
}

func newRun(ctx context.Context, o *Options) (*replay, error) {
	if o.Map == nil {
		return nil, fileError("--map", "must name a map file, or --columns be given")
	}
	if len(o.Events) == 0 {
		return nil, fileError("--events", "must name at least one file")
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	in, err := inputs(o.Events)
	if err != nil {
		return nil, err
	}
	r := &replay{o: o, inputs: in, client: c, mapper: NewMapper(o.Map), account: Account{Run: newRunID()}}
	r.letters = newLetters(c, r.account.Run)
	r.pacer = newPacer(o.Speed)
	return r, r.checkFiles(ctx)
}

// newRunID makes 16 hex digits, not all zero.
func newRunID() string {
	var b [8]byte
	for binary.BigEndian.Uint64(b[:]) == 0 {
		_, _ = rand.Read(b[:]) // never fails
	}
	return fmt.Sprintf("%016x", b)
}

// checkFiles opens every file and looks the map's columns up, before anything is sent.
func (r *replay) checkFiles(ctx context.Context) error {
	var size int64
	bytes := true
	for i, in := range r.inputs {
		s, err := r.o.open(ctx, in)
		if err != nil {
			return err
		}
		if i == 0 && s.table != nil {
			err = r.use(s.table)
		}
		size += s.size
		bytes = bytes && s.format != isTable
		if err == nil {
			err = r.checkFile(in.name, s)
		}
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	r.bar = newBar(r.o.Stderr, size, bytes)
	return nil
}

// use takes the built-in map of a table of the warehouse, unless the map given says which columns it reads.
func (r *replay) use(t *table) error {
	m, err := r.o.Map.forTable(t)
	if err == nil {
		r.o.Map, r.mapper = m, NewMapper(m)
	}
	return err
}

func (r *replay) checkFile(name string, s *source) error {
	if err := r.o.Map.fits(name, s); err != nil {
		return err
	}
	return r.mapper.Bind(name, s.Columns(), !s.growing)
}

func (r *replay) run(ctx context.Context) error {
	defer r.bar.finish()
	if r.o.AcceptPolicy || len(r.o.Grants) > 0 {
		var err error
		if r.imports, err = newImports(ctx, r.client, r.o.Grants); err != nil {
			return err
		}
	}
	if r.o.Items != "" {
		if err := sendItems(ctx, r.client, r.o.Items, r.o.notef); err != nil {
			return err
		}
	}
	counts, err := r.send(ctx)
	r.account.Denied, r.account.Rejected = counts.denied+r.letters.denied, counts.rejected-r.letters.denied
	if err != nil {
		return err
	}
	r.report()
	return r.settle(ctx, counts)
}

// report notes the columns that nothing used.
func (r *replay) report() {
	if len(r.account.Unmapped) > 0 {
		r.o.notef("columns neither mapped nor ignored: %s", strings.Join(r.account.Unmapped, ", "))
	}
	if r.imports != nil {
		r.o.notef("imported the consent of %s, %d kept their own choice", people(r.imports.count), r.imports.ignored)
	}
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return strconv.Itoa(n) + " people"
}

// notef writes a line to standard error.
func (o *Options) notef(format string, args ...any) {
	if o.Stderr != nil {
		fmt.Fprintf(o.Stderr, "sluice replay: "+format+"\n", args...)
	}
}
