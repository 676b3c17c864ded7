package crash

import (
	"errors"
	"fmt"
	"slices"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// oracle says what each purpose must have got, from the log alone: the rules of admission once more, with plain maps, none of the filter's code, and no engine.
// It knows what this load does and no more: one jurisdiction (CN), no imports, no replays, nothing older than a week.
type oracle struct {
	ring   *seal.Keyring
	keys   *pseudonym.Keys
	people map[string]*ledger // by subject

	log      map[string]bool                            // event ids of people of the load that stand on the log
	order    map[int]int                                // by person: the newest sequence number seen for the first time
	expected [len(purposes)][stream.Partitions][]string // pseudonyms of the events, in order
	decided  map[string]string                          // risk pseudonym of events that get a decision → event id
	personal map[string]string                          // pseudonym → event id of what personalize must have
	problems []string

	overtaken map[string]bool // ids of events that name an allow which an earlier denial overtook

	records, events, controls, duplicates, denied int64
}

// The purposes that events are projected to.
var purposes = [...]string{privacyfilter.History, privacyfilter.Trending, privacyfilter.Personalize, privacyfilter.Risk}

const (
	ofHistory = iota
	ofTrending
	ofPersonalize
	ofRisk
)

// takes is the table of the register: the types that each purpose takes. Those of riskAfterAcceptance reach risk only once the policy was accepted.
var (
	takes = [...][]string{
		{"view_item", "select_item", "search", "add_to_cart", "add_to_wishlist", "follow", "share", "purchase", "after_sales"},
		{"view_item", "select_item", "add_to_cart", "add_to_wishlist", "purchase"},
		{"view_item_list", "view_item", "select_item", "search", "add_to_cart", "remove_from_cart", "add_to_wishlist", "purchase"},
		{"sign_up", "login", "login_failed", "password_change", "verification", "payment", "refund", "chargeback", "report"},
	}
	riskAfterAcceptance = []string{"page_view", "view_item", "search", "add_to_cart", "begin_checkout", "purchase", "publish"}
	decidedTypes        = []string{"sign_up", "login", "payment"}
)

// ledger is what one subject chose, and what of theirs is known.
type ledger struct {
	accepted bool
	choice   int                   // of personalize: 1 allow, -1 deny, 0 none, which in CN allows
	denied   record                // the newest deny
	allowed  map[int64]int64       // allows: when they were received, by offset
	denials  map[int64]bool        // when the denies were received: two requests never tell the same microsecond
	grants   [len(purposes)]*grant // nil: denied. Of risk: the acceptance
	seen     map[string]bool       // accepted event ids
	deleted  map[pseudonym.EventHash]bool
}

// record is the place of a record, and when it was received.
type record struct{ offset, received int64 }

// grant is where a present uninterrupted allow began.
type grant struct{ offset, time int64 }

func newOracle(ring *seal.Keyring) *oracle {
	return &oracle{
		ring: ring, keys: pseudonym.New(ring), people: make(map[string]*ledger), log: make(map[string]bool), order: make(map[int]int),
		decided: make(map[string]string), personal: make(map[string]string), overtaken: make(map[string]bool),
	}
}

func (o *oracle) of(subject string) *ledger {
	l := o.people[subject]
	if l == nil {
		l = &ledger{seen: make(map[string]bool), deleted: make(map[pseudonym.EventHash]bool), allowed: make(map[int64]int64), denials: make(map[int64]bool)}
		o.people[subject] = l
	}
	return l
}

// take reads one record of the log.
func (o *oracle) take(rec *stream.Record) error {
	o.records++
	var lr eventpb.LogRecord
	if err := lr.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	body, err := ingest.OpenBody(o.ring, rec.Key, &lr, nil)
	if err != nil {
		return err
	}
	switch lr.Kind {
	case eventpb.LogRecord_EVENT:
		ev := new(eventpb.Event)
		if err := ev.UnmarshalVT(body); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		o.event(rec, &lr, ev)
		return nil
	case eventpb.LogRecord_CONTROL:
		c := new(eventpb.Control)
		if err := c.UnmarshalVT(body); err != nil {
			return fmt.Errorf("reading a control record: %w", err)
		}
		return o.control(rec, &lr, c)
	default:
		return errors.New("neither an event nor a control record on the log")
	}
}

func (o *oracle) event(rec *stream.Record, lr *eventpb.LogRecord, ev *eventpb.Event) {
	o.events++
	o.note(ev)
	subject := ingest.Subject(ev)
	l := o.of(subject)
	if l.seen[ev.Id] {
		o.duplicates++
		return
	}
	if r, err := privacyfilter.ParseRevision(ev.GetConsent().GetRevision()); err == nil && l.overtaken(r.Offset) {
		o.overtaken[ev.Id] = true
	}
	used := false
	for i := range purposes {
		if !l.admits(i, rec, lr, ev) {
			continue
		}
		used = true
		o.expect(i, rec.Partition, subject, ev)
	}
	if !used {
		o.denied++
		return
	}
	l.seen[ev.Id] = true
}

// note keeps that the event is on the log, and looks at the person's order.
func (o *oracle) note(ev *eventpb.Event) {
	person, sequence, ok := parseEventID(ev.Id)
	if !ok || o.log[ev.Id] {
		return
	}
	o.log[ev.Id] = true
	if newest, any := o.order[person]; any && sequence < newest {
		o.problems = append(o.problems, fmt.Sprintf("person %d: event %d stands behind event %d", person, sequence, newest))
	}
	o.order[person] = max(o.order[person], sequence)
}

// expect books that a purpose must have the event.
func (o *oracle) expect(i int, partition int32, subject string, ev *eventpb.Event) {
	event := o.keys.Event(purposes[i], subject, ev.Type, ev.Id)
	name := string(event[:])
	o.expected[i][partition] = append(o.expected[i][partition], name)
	if i == ofRisk && slices.Contains(decidedTypes, ev.Type.Name()) {
		o.decided[name] = ev.Id
	}
	if i == ofPersonalize {
		o.personal[name] = ev.Id
	}
}

// admits tells whether the purpose may use the event.
func (l *ledger) admits(i int, rec *stream.Record, lr *eventpb.LogRecord, ev *eventpb.Event) bool {
	listed := slices.Contains(takes[i], ev.Type.Name())
	waits := i == ofRisk && slices.Contains(riskAfterAcceptance, ev.Type.Name())
	if i == ofRisk && listed {
		return true // a legal duty
	}
	if !listed && !waits {
		return false
	}
	if l.deleted[pseudonym.EventHashOf(rec.Key, lr.Dedupe)] && i != ofRisk {
		return false
	}
	if slices.Contains(ev.GetConsent().GetDenied(), purposes[i]) || i == ofPersonalize && ev.GetConsent().GetGpc() {
		return false
	}
	g := l.grants[i]
	if g == nil {
		return false
	}
	if r, err := privacyfilter.ParseRevision(ev.GetConsent().GetRevision()); err == nil && r.Generation == 1 && r.Partition == rec.Partition && r.Offset < rec.Offset && r.Offset >= g.offset {
		return true
	}
	captured, known := capturedBefore(lr, ev)
	if !known {
		return false
	}
	const second = 1_000_000
	if captured-second >= g.time {
		return true
	}
	basic := i == ofHistory || i == ofTrending
	return basic && g.offset == l.grants[ofRisk].offset && captured+second >= g.time // about the acceptance itself
}

// capturedBefore is the latest time of capture by the collector's clock.
func capturedBefore(lr *eventpb.LogRecord, ev *eventpb.Event) (at int64, known bool) {
	sent := ev.SentAt
	if sent == 0 && lr.TrustedClock {
		sent = lr.ReceivedAt
		if ev.Time > sent {
			sent = min(ev.Time, lr.ReceivedAt+1_000_000)
		}
	}
	if sent == 0 || sent < ev.Time {
		return 0, false
	}
	return lr.ReceivedAt - (sent - ev.Time), true
}

func (o *oracle) control(rec *stream.Record, lr *eventpb.LogRecord, c *eventpb.Control) error {
	o.controls++
	l := o.of(c.Subject)
	all := false
	switch act := c.Act.(type) {
	case *eventpb.Control_Policy_:
		l.accepted = act.Policy.Accepted
	case *eventpb.Control_Choice_:
		if act.Choice.Purpose != privacyfilter.Personalize {
			return fmt.Errorf("a choice about %s, which this load does not make", act.Choice.Purpose)
		}
		l.choose(record{rec.Offset, lr.ReceivedAt}, act.Choice.Allow, c.Known)
	case *eventpb.Control_DeleteHistory_:
		if all = len(act.DeleteHistory.Event) == 0; !all {
			if of, err := o.keys.OpenEvent(privacyfilter.History, c.Subject, act.DeleteHistory.Event); err == nil {
				l.deleted[of] = true
			}
		}
	case *eventpb.Control_Block_:
	default:
		return fmt.Errorf("a control record %T, which this load does not make", act)
	}
	for i := range purposes {
		holds := l.accepted && (i != ofPersonalize || l.choice >= 0)
		switch {
		case !holds:
			l.grants[i] = nil
		case l.grants[i] == nil, all && i != ofRisk:
			l.grants[i] = &grant{rec.Offset, lr.ReceivedAt}
		}
	}
	return nil
}

// choose notes a choice. A permission has no effect if whoever asked for it did not know the newest denial.
func (l *ledger) choose(at record, allow bool, known *string) {
	if !allow {
		l.choice, l.denied = -1, at
		l.denials[at.received] = true
		return
	}
	l.allowed[at.offset] = at.received
	if known != nil && len(l.denials) > 0 {
		if r, err := privacyfilter.ParseRevision(*known); err != nil || r.Offset < l.denied.offset {
			return
		}
	}
	l.choice = 1
}

// overtaken tells whether what holds is a denial that stands behind the allow of the offset and was asked for before it.
func (l *ledger) overtaken(allow int64) bool {
	received, ok := l.allowed[allow]
	return ok && l.choice < 0 && l.denied.offset > allow && l.denied.received < received
}

// unexpectedType keeps the tables above honest: every name must be one of the vocabulary.
func unexpectedType() error {
	for _, list := range append(takes[:], riskAfterAcceptance, decidedTypes) {
		for _, name := range list {
			if _, ok := vocab.ParseType(name); !ok {
				return fmt.Errorf("type %s is not in the vocabulary", name)
			}
		}
	}
	return nil
}
