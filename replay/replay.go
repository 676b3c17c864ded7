// Package replay sends the events of files through a running server. It has readers for CSV, TSV, JSON and Parquet, the map from columns to events, and a
// sender that accounts for every row.
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

	"sluice/ingest"
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

	Format string    // of what does not tell it by its name: .csv, .tsv, .jsonl, .ndjson, .json or .parquet; empty: standard input is told by its first bytes
	Stdin  io.Reader // what "-" among Events is

	ClickHousePassword string // of the user in the address of a table

	Forms ingest.Forms // that a server gives identifiers, for Check

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
	Rejected  int64   `json:"rejected"`            // cannot be read, or invalid: a dead letter
	Unsettled int64   `json:"unsettled,omitempty"` // read, and their outcome not known when the run was interrupted or failed
	Seconds   float64 `json:"seconds"`

	Run      string   `json:"-"` // 16 hex digits: the source of its dead letters
	Unmapped []string `json:"-"` // columns that the map neither uses nor ignores, as "file: column"
	Reasons  []Reason `json:"-"` // why rows were rejected, the most frequent first
}

// ErrTooManyRejected is returned when more rows were rejected than MaxRejected; the account is complete.
var ErrTooManyRejected = errors.New("too many rows rejected")

// ErrAllRejected is returned when there were rows and all were rejected, whatever MaxRejected is; the account is complete.
var ErrAllRejected = errors.New("every row was rejected")

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
	switch {
	case err != nil:
	case r.account.Read > 0 && r.account.Rejected == r.account.Read:
		err = fmt.Errorf("%w: %d of %d; `sluice dead-letters list` shows why", ErrAllRejected, r.account.Rejected, r.account.Read)
	case r.account.Rejected > o.MaxRejected:
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
	broken  error // an input that broke off
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
	bytes, used := true, false
	for i, in := range r.inputs {
		s, err := r.o.open(ctx, in)
		if err != nil {
			return err
		}
		if s.table != nil && !used {
			err = r.use(s.table)
		}
		used = used || !s.empty()
		if in.files != nil && in.files[0] == standardInput {
			r.inputs[i].opened = s
		}
		size += s.size
		bytes = bytes && s.format != isTable
		if err == nil {
			err = r.checkFile(in.name, s)
		}
		if r.inputs[i].opened == nil || err != nil {
			err = errors.Join(err, s.Close())
		}
		if err != nil {
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
	if err := r.o.Map.fits(name, s); err != nil || s.empty() {
		return err
	}
	return r.mapper.bind(name, s)
}

func (r *replay) run(ctx context.Context) error {
	defer r.bar.finish()
	if r.o.AcceptPolicy || len(r.o.Grants) > 0 {
		var err error
		if r.imports, err = newImports(ctx, r.client, r.o.Grants); err != nil {
			return err
		}
		r.letters.before = r.imports.flush
	}
	if r.o.Items != "" {
		if err := sendItems(ctx, r.client, r.o.Items, r.o.notef); err != nil {
			return err
		}
	}
	counts, err := r.send(ctx)
	r.account.Denied, r.account.Rejected, r.account.Reasons = counts.denied, counts.rejected, r.letters.why()
	if err != nil {
		return err
	}
	r.report()
	return errors.Join(r.broken, r.settle(ctx, counts))
}

// maxTold is how many reasons the terminal shows.
const maxTold = 5

// report notes why rows were rejected, the columns that nothing used, and what became of consent.
func (r *replay) report() {
	for i, why := range r.account.Reasons {
		if i == maxTold {
			r.o.notef("… and %s more for rejections", plural(len(r.account.Reasons)-maxTold, "reason"))
			break
		}
		r.o.notef("rejected %s, %s, first at %s: %s", plural(int(why.Rows), "row"), why.Code, why.First, why.Detail)
	}
	if n := r.letters.unkept; n > 0 {
		r.o.notef("%s of rejected rows were not kept: their people have not accepted the policy (--accept-policy)", plural(int(n), "dead letter"))
	}
	if len(r.account.Unmapped) > 0 {
		r.o.notef("columns neither mapped nor ignored: %s", strings.Join(r.account.Unmapped, ", "))
	}
	if r.imports != nil {
		r.o.notef("imported the consent of %s, %d kept their own choice", people(r.imports.count), r.imports.ignored)
		if n := r.imports.refused; n > 0 {
			r.o.notef("imported no consent of %s: the server refuses the id or the jurisdiction", people(n))
		}
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
