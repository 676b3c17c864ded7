package filter

import (
	"slices"
	"time"

	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/privacyfilter"
)

// clockMargin is what two collectors' clocks may differ by: an event within this time of a grant is lost rather than admitted too early.
const clockMargin = int64(time.Second / time.Microsecond)

// admits tells whether the purpose may use the event, and under which grant (none for what a legal duty covers).
//
// The decision must be allow at the event's place in the log, and the event must have been captured under this very grant. What the event itself says
// (GPC, denied, jurisdiction) only narrows.
func (f *filter) admits(p *privacyfilter.Purpose, in *input) (grant privacyfilter.Grant, ok bool) {
	if p == nil || !in.row.Allows(p, in.ev.Type, in.ev.Jurisdiction) {
		return grant, false
	}
	if in.deleted && p.Tier != privacyfilter.Legal {
		return grant, false // deleting a footprint deletes it for every purpose but a legal duty's
	}
	if p.Tier == privacyfilter.Legal && !p.AfterAcceptance(in.ev.Type) {
		return grant, true
	}
	if p.Narrows(in.ev.Consent.GetGpc()) || slices.Contains(in.ev.Consent.GetDenied(), p.Name) {
		return grant, false
	}
	grant, granted := in.row.Grant(p)
	if !granted || !in.row.State(p).Allow {
		return grant, false // the register has become wider since the subject's last record: no grant covers this
	}
	return grant, in.capturedUnder(grant) || p.Tier == privacyfilter.Basic && f.capturedAboutAcceptance(in, grant)
}

// established tells whether lists that everyone sees count the person from this event on: whoever accepted the policy long enough before it, and an account that
// a server key names. Visitors can be invented by thousands with the public key, but none can be made older: the acceptance has the server's time, and an event
// no later one than it was received at.
func (f *filter) established(in *input, grant privacyfilter.Grant) bool {
	if f.TrendingAge == 0 || in.lr.TrustedClock && in.ev.UserId != "" {
		return true
	}
	return min(in.ev.Time, in.lr.ReceivedAt)-grant.Time >= f.TrendingAge.Microseconds()
}

// capturedAboutAcceptance tells whether an event for a basic purpose was captured after the policy was accepted, or less than the margin before.
// A basic purpose hangs on nothing but the acceptance: a page that sends its first event at once, and stamps whole seconds, must not lose it. A floor that
// a deletion has raised has no such margin; the legal purposes' grant tells the two apart, as it keeps the acceptance.
func (f *filter) capturedAboutAcceptance(in *input, grant privacyfilter.Grant) bool {
	duty := f.purposes[risk]
	if duty == nil {
		return false
	}
	accepted, ok := in.row.Grant(duty)
	return ok && accepted.Floor == grant.Floor && in.dated && in.captured+2*clockMargin >= grant.Time
}

// capturedUnder tells whether the event was captured after the present uninterrupted allow began.
func (in *input) capturedUnder(grant privacyfilter.Grant) bool {
	if !in.revision.IsZero() && in.revision.Compare(grant.Floor) >= 0 {
		return true
	}
	return in.dated && in.captured >= grant.Time
}

// namedRevision is the revision that the event says its client knew. It counts only if it is a place of this partition and generation below the event's
// own: then whoever names it has seen it, so the event was captured after it. Zero otherwise.
func (f *filter) namedRevision(rec *stream.Record, ev *eventpb.Event) privacyfilter.Revision {
	text := ev.Consent.GetRevision()
	if text == "" {
		return privacyfilter.Revision{}
	}
	rev, err := privacyfilter.ParseRevision(text)
	if err != nil || rev.Generation != f.Generation || rev.Partition != rec.Partition || rev.Offset >= rec.Offset {
		return privacyfilter.Revision{}
	}
	return rev
}

// capturedAt is a time by the collector's clock at which the event had not been captured yet, at the latest: when it was received, less its age by the
// client's clock (whose error cancels), less a margin. It is unknown if the age is missing or negative. A trusted clock needs no sending time, and may be
// ahead of the collector's by the margin.
func capturedAt(lr *eventpb.LogRecord, ev *eventpb.Event) (micros int64, known bool) {
	sent := ev.SentAt
	if sent == 0 && lr.TrustedClock {
		sent = max(lr.ReceivedAt, min(ev.Time, lr.ReceivedAt+clockMargin))
	}
	age := sent - ev.Time
	if sent == 0 || sent < ev.Time || age < 0 { // less than 0: more than int64 holds
		return 0, false
	}
	return lr.ReceivedAt - age - clockMargin, true
}
