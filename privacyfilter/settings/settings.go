// Package settings is the HTTP API through which people see and change what may be done with their data: consent, blocks, history. It also imports what held
// before. A write is answered only when every node obeys it.
package settings

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/admission"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/internal/seal"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// Log is the way to sluice.events.
type Log interface {
	// AppendControl writes control records and tells where each stands; nil means that all are durable.
	AppendControl(ctx context.Context, controls []*eventpb.Control, receivedAt int64) ([]ingest.Position, error)
}

var _ Log = (*ingest.Log)(nil)

// Footprint is one event of a person's history.
type Footprint struct {
	Event      []byte // the history purpose's event id
	Type       string // JSON name
	Time       int64  // Unix microseconds
	ItemIDs    []string
	SearchTerm string
}

// Position is the place of a footprint in a history; zero is the newest end. Equal times are ordered by event id.
type Position struct {
	Time  int64
	Event []byte
}

// IsZero tells whether the position is the newest end.
func (p Position) IsZero() bool { return p.Time == 0 && len(p.Event) == 0 }

// History is where footprints are kept.
type History interface {
	// Footprints lists at most limit footprints that are older than before, newest first, by (time, event id). more tells whether there are older ones still.
	// It fails rather than leave one out.
	Footprints(id consent.Identity, limit int, before Position) (found []Footprint, more bool, err error)
}

// Options of the settings API. All up to Generation are required.
type Options struct {
	Log        Log
	View       *consent.View
	Policy     *privacyfilter.Register
	Ring       *seal.Keyring // seals cursors, proves revisions
	Keys       *pseudonym.Keys
	History    History
	Generation uint32 // of the log: the first part of every revision

	Placeholders  *canonical.Placeholders // ids that name nobody: they have no settings; nil = none
	Jurisdictions map[string]string       // of pages, by their origin; every other page has the deployment's

	// Quotas of those who write with a write key; nil: nobody has one.
	Quotas *quota.Quotas

	MaxBlocks int // items that one person may block, and as many categories; 0 = privacyfilter.MaxBlocks, which is the most

	// UserToken is who the storefront says is signed in. Without it a write key changes visitors' settings alone.
	// Its error says what the token must have.
	UserToken  func(r *http.Request) (userID string, err error)
	Lane       *admission.Lane       // is narrow while a restriction is on its way; nil = none
	Deadline   time.Duration         // for a write to be obeyed everywhere, 0 = 10 s
	Logger     *slog.Logger          // nil = silent
	Registerer prometheus.Registerer // nil = no metrics
}

const (
	defaultDeadline = 10 * time.Second
	importDeadline  = 30 * time.Second // for 10,000 people
	maxRestrictions = 4096             // writes that restrict and wait at once; more are shed with 429
	maxPermissions  = 1024             // writes that permit: they wait for the filter, and must not keep out those that restrict
	maxOfAddress    = 64               // of each of these two kinds, by callers with a write key at one address
	maxStrangers    = 32               // writes with a write key of people of whom nothing is recorded: they share the way to the log with those of whom something is, and must not fill it
	placeWait       = time.Second      // for a place among strangers, or among those of one address
	maxImportWrites = 64               // of up to 10,000 people each
	maxPending      = 256              // of one person's restrictions that the filter has not confirmed yet
	maxBody         = 4 << 10
	maxID           = 256
)

// service serves the API.
type service struct {
	Options
	places    map[string]bool // jurisdictions that the register knows
	revisions *privacyfilter.Revisions
	metrics   *metrics

	restrictions, permissions, strangers, imports chan struct{} // a place for each write that waits
	restricting, permitting                       *shares       // of restrictions and permissions, by address
}

// Register adds the operations to the API.
func Register(api *httpx.API, o Options) {
	if o.Deadline == 0 {
		o.Deadline = defaultDeadline
	}
	if o.MaxBlocks == 0 {
		o.MaxBlocks = privacyfilter.MaxBlocks
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &service{
		Options: o, places: o.Policy.Jurisdictions(), revisions: privacyfilter.NewRevisions(o.Ring), restrictions: make(chan struct{}, maxRestrictions), permissions: make(chan struct{}, maxPermissions),
		strangers: make(chan struct{}, maxStrangers), imports: make(chan struct{}, maxImportWrites),
		restricting: newShares(maxOfAddress), permitting: newShares(maxOfAddress),
	}
	s.metrics = newMetrics(o.Registerer, s)
	s.registerPolicy(api)
	s.registerImports(api)
	for _, k := range []kind{users, visitors} {
		s.registerSubject(api, k)
	}
}

// change is one write: it restricts, or it permits.
type change struct {
	act      string // for the metrics
	control  *eventpb.Control
	restrict *restriction // what runs ahead of the record; nil where it permits
	permit   *permission  // nil where it restricts
	refuses  bool         // it says no to what is done with the person's data, or takes back what was
	stranger bool         // nothing is recorded of the person, and the key is public
}

// permission is how a change that permits stands to restrictions of the same thing.
type permission struct {
	told     string                              // the newest revision that the caller says it knew, as the settings gave it; empty = not told
	opposite func(r *purposepb.Restriction) bool // tells whether the restriction is one of the same thing
	holds    func(a *consent.Access) bool        // tells whether what is permitted is permitted
}

// change makes a write of the request's subject, unless too many of theirs wait for the filter already.
func (s *service) change(ctx context.Context, c change) (*answer[Written], error) {
	who := subjectOf(ctx)
	a, err := s.View.Lookup(who.person())
	if err != nil {
		return nil, problemUnknown()
	}
	if a.Record().Pending >= maxPending {
		return nil, later(s.refused(c.act, httpx.NewProblem(http.StatusTooManyRequests, "too_many_changes", "Too many changes of this person wait to be confirmed. Nothing was recorded.")))
	}
	if policy := c.control.GetPolicy(); policy != nil {
		if problem := s.place(who, a, policy); problem != nil {
			return nil, problem
		}
	}
	known := a.Record().Known || who.kind == users // an account has a token, which nobody can make up
	c.stranger = who.caller.Limited() && !known
	if problem := c.charge(who, known); problem != nil {
		who.caller.Hold(ctx)
		return nil, s.refused(c.act, problem)
	}
	c.control.Subject = who.key()
	if c.permit != nil {
		known, problem := s.known(c, a)
		if problem != nil {
			return nil, problem
		}
		c.control.Known = &known
	}
	revision, err := s.write(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.permit != nil {
		a := s.View.Applied(who.person())
		if !c.permit.holds(a) {
			s.metrics.writes.WithLabelValues(c.act, "overtaken").Inc()
			return nil, overtaken(s.revisions.Text(revision, who.key()))
		}
		revision = a.Revision() // if two permitted the same, the other one's record may be the one that counts
	}
	s.metrics.writes.WithLabelValues(c.act, "obeyed").Inc()
	return private(Written{Revision: s.revisions.Text(revision, who.key()), EffectiveAt: time.Now().UTC()}), nil
}

// charge takes the write from the caller's quotas. What somebody of whom something is recorded refuses is counted by that person and their address, never by the
// key: only those who share the address can use that up. Nothing is done with the data of a stranger until they permit it; what they refuse is counted apart all the same, for the permission that may follow.
func (c *change) charge(who subject, known bool) *httpx.Problem {
	switch {
	case known && c.refuses:
		return who.caller.Withdrawal(who.key())
	case known:
		return who.caller.Setting(who.key(), quota.OfKey)
	}
	if problem := who.caller.Setting(who.key(), quota.OfAddress); problem != nil {
		return problem
	}
	if c.refuses {
		return who.caller.OptOut()
	}
	return who.caller.Identity()
}

// known is the place that the permission rests on: what is known here, or less, if its caller says so. A permission yields to a newer restriction of the same
// thing, wherever that was asked for.
func (s *service) known(c change, a *consent.Access) (place string, problem *httpx.Problem) {
	here := a.KnownOf(c.permit.opposite)
	if text := c.permit.told; text != "" {
		told, ok := s.revisions.Read(text, c.control.Subject)
		if !ok {
			return "", invalid("invalid_revision", "/Sluice-Revision", "must be a revision that this person's consent or blocks were read with")
		}
		if told.Compare(here) < 0 {
			here = told
		}
	}
	if here.IsZero() {
		return "", nil
	}
	return here.String(), nil
}

// write appends the change to the log and returns when it is obeyed everywhere. It goes on when the caller has gone: what is recorded must take effect.
func (s *service) write(ctx context.Context, c change) (revision privacyfilter.Revision, err error) {
	leave, ok := s.enter(ctx, &c)
	if !ok {
		return revision, s.refused(c.act, problemBusy())
	}
	defer leave()
	if c.restrict != nil && !c.stranger {
		defer s.Lane.Hurry()() // what permits waits for the filter, which works in the lane; and nothing is done with the data of strangers that must end
	}
	if c.permit != nil && ctx.Err() != nil { // the caller disconnected; it may have retried on another node and revoked since
		return revision, s.refused(c.act, problemUnknown())
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Deadline)
	defer cancel()
	positions, err := s.append(ctx, c.control)
	if err != nil {
		s.Logger.Warn("could not append a person's choice to the log", "error", err)
		return revision, s.refused(c.act, problemLog())
	}
	revision = s.revision(positions[0])
	if err := s.obeyed(ctx, c.control.Subject, revision, c.restrict); err != nil {
		s.Logger.Warn("a choice is recorded, and it is not known yet whether every node obeys it", "error", err)
		s.metrics.writes.WithLabelValues(c.act, "late").Inc()
		return revision, c.notYet(s.revisions.Text(revision, c.control.Subject))
	}
	s.metrics.seconds.Observe(time.Since(began).Seconds())
	return revision, nil
}

// append appends control records, and waits no longer than ctx: a log that is down may take its own time to say so.
func (s *service) append(ctx context.Context, controls ...*eventpb.Control) ([]ingest.Position, error) {
	type result struct {
		positions []ingest.Position
		err       error
	}
	done := make(chan result, 1)
	go func() {
		positions, err := s.Log.AppendControl(ctx, controls, time.Now().UnixMicro())
		done <- result{positions, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.positions, r.err
	}
}

func (s *service) refused(act string, p error) error {
	s.metrics.writes.WithLabelValues(act, "refused").Inc()
	return p
}

func (s *service) revision(p ingest.Position) privacyfilter.Revision {
	return privacyfilter.Revision{Generation: s.Generation, Partition: p.Partition, Offset: p.Offset}
}

// obeyed waits until the record at the revision is obeyed everywhere: by the fast path, or where that fails by the filter's row.
func (s *service) obeyed(ctx context.Context, subject string, revision privacyfilter.Revision, ahead *restriction) error {
	if ahead != nil {
		err := s.View.Restrict(ctx, subject, revision, ahead)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.Logger.Warn("could not write a restriction ahead of the filter", "error", err)
	}
	return s.View.Visible(ctx, subject, revision)
}

// read builds an answer from what holds for the person, anew if it changes meanwhile.
func read[T any](s *service, p consent.Person, build func(a *consent.Access) (T, error)) (T, error) {
	var none T
	for range 4 {
		a, err := s.View.Lookup(p)
		if err != nil {
			return none, problemUnknown()
		}
		out, err := build(a)
		if err != nil {
			return none, err
		}
		if s.View.Holds(a) {
			return out, nil
		}
	}
	return none, problemUnknown()
}

// surface is where a control was used: what the caller says, if it is one of ours, else the API.
func surface(told string) string {
	if slices.Contains([]string{"settings", "storefront"}, told) {
		return told
	}
	return "api"
}

// retryAfter is what a caller is asked to wait, in seconds.
var retryAfter = http.Header{"Retry-After": {strconv.Itoa(1)}}
