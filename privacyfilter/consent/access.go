package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// Person is who a request is about, as far as the caller knows. Empty ids are not known.
type Person struct {
	UserID      string // the account
	AnonymousID string // the device's visitor id
	GPC         bool   // the request carries Global Privacy Control
}

// Identity is who a subject is for one purpose.
type Identity struct {
	Subject [16]byte // the purpose's own pseudonym
	Floor   []byte   // opaque, compared for equality; nil where nothing is allowed yet or the purpose knows no floor
}

// Access is what holds for a person at one moment, computed from the account's records, the device's and the request: the most restrictive of them.
// It is immutable. View.Holds tells whether it still holds.
type Access struct {
	view            *View
	gpc             bool
	account, device side
}

// side is one of the two subjects of a request, as the view knew it.
type side struct {
	subject string // empty: not named
	key     logKey
	person  *person   // nil: nothing is known of it
	row     *compiled // never nil in a side that is named
}

func (s *side) named() bool { return s.subject != "" }

// recorded tells whether the subject has records about consent: one without is neutral beside one that has them.
func (s *side) recorded() bool { return s.row != nil && s.row.answered }

// Known tells whether a subject was named.
func (a *Access) Known() bool { return a.account.named() || a.device.named() }

// acting is the subject that acts: the account if one is named, else the device. It is not named for a stranger.
func (a *Access) acting() *side {
	if a.account.named() {
		return &a.account
	}
	return &a.device
}

// Effective is the decision for a purpose. An identity without records is neutral beside one that has them; of two that have none, and of strangers, nothing is known.
func (a *Access) Effective(purpose string) privacyfilter.Decision {
	p, ok := a.view.compiler.register.Purpose(purpose)
	if !ok {
		return privacyfilter.Decision{Because: privacyfilter.BecauseUnregistered}
	}
	return a.effective(p)
}

func (a *Access) effective(p *privacyfilter.Purpose) privacyfilter.Decision {
	decision := a.recorded(p)
	if decision.Allow && p.Narrows(a.gpc) {
		return privacyfilter.Decision{Because: privacyfilter.BecauseGPC}
	}
	return decision
}

// recorded is the decision by the records of account and device alone.
func (a *Access) recorded(p *privacyfilter.Purpose) privacyfilter.Decision {
	account, device := a.account.recorded(), a.device.recorded()
	switch {
	case account && device:
		decision := a.account.row.decisions[p.Index]
		if decision.Allow && !a.device.row.decisions[p.Index].Allow {
			return privacyfilter.Decision{Because: privacyfilter.BecauseDevice}
		}
		return decision
	case account:
		return a.account.row.decisions[p.Index]
	case device:
		return a.device.row.decisions[p.Index]
	default:
		return a.view.stranger.decisions[p.Index]
	}
}

// Identities are the person's identities for a purpose, the account first: of each that allows it by its own records. None where Effective denies.
func (a *Access) Identities(purpose string) []Identity {
	p, ok := a.view.compiler.register.Purpose(purpose)
	if !ok || !a.effective(p).Allow {
		return nil
	}
	var out []Identity
	for _, s := range []*side{&a.account, &a.device} {
		if s.named() && s.row.decisions[p.Index].Allow {
			out = append(out, a.view.compiler.identity(s.row, p, s.subject))
		}
	}
	return out
}

// HiddenEvents are the personalize hashes of events that were deleted so recently that features may still hold them. Nil: none. It must not be changed.
func (a *Access) HiddenEvents() map[uint64]struct{} {
	var account, device map[uint64]struct{}
	if a.account.row != nil {
		account = a.account.row.events
	}
	if a.device.row != nil {
		device = a.device.row.events
	}
	return union(account, device)
}

// HidesHistory tells whether the footprint with this history event id was deleted so recently that the history may still hold it.
func (a *Access) HidesHistory(event []byte) bool {
	for _, s := range []*side{&a.account, &a.device} {
		if s.row == nil {
			continue
		}
		if _, hidden := s.row.footprints[string(event)]; hidden || s.row.hideAll {
			return true
		}
	}
	return false
}

// Blocks are the items and categories that the account or the device does not want to see. Never nil; it must not be changed.
func (a *Access) Blocks() *Blocks {
	var account, device *Blocks
	if a.account.row != nil {
		account = a.account.row.blocks
	}
	if a.device.row != nil {
		device = a.device.row.blocks
	}
	switch {
	case account == nil && device == nil:
		return noBlocks
	case account == nil:
		return device
	case device == nil:
		return account
	default:
		return &Blocks{Items: union(account.Items, device.Items), Categories: union(account.Categories, device.Categories)}
	}
}

// Revision is that of the newest record of the acting subject, which is the account if one is named. Zero if it has none.
func (a *Access) Revision() privacyfilter.Revision { return a.acting().person.newest() }

// KnownOf is the revision of the acting subject up to which every restriction is known here that is acknowledged and for which of tells true: that of the newest
// such one which the filter has not confirmed yet, else that of the row. The filter's row holds everything up to its revision; of what is newer only what
// comes by the fast path is known, in any order. Zero: the subject has no records.
func (a *Access) KnownOf(of func(r *purposepb.Restriction) bool) privacyfilter.Revision {
	p := a.acting().person
	if p == nil {
		return privacyfilter.Revision{}
	}
	for _, r := range slices.Backward(p.pending) {
		if of(r.Restriction) {
			return r.revision
		}
	}
	return p.revision
}

// Record is what the acting subject's own records say, as the settings show it.
type Record struct {
	PolicyVersion string // the accepted one, empty = none
	Jurisdiction  string // empty = the deployment's
	Pending       int    // restrictions that the filter has not confirmed yet
	row           *compiled
}

// Record of the acting subject. It is empty for a stranger.
func (a *Access) Record() Record {
	s := a.acting()
	if !s.named() {
		return Record{row: a.view.stranger}
	}
	r := Record{Jurisdiction: s.row.row.GetJurisdiction(), row: s.row}
	if !s.row.withdrawn {
		r.PolicyVersion = s.row.row.GetPolicyVersion()
	}
	if s.person != nil {
		r.Pending = len(s.person.pending)
	}
	return r
}

// Choice is the person's own choice for the purpose, and whether it was imported.
func (r Record) Choice(p *privacyfilter.Purpose) (choice purposepb.Choice, imported bool) {
	state := r.row.states[p.Index]
	if d := r.row.decisions[p.Index]; !d.Allow && d.Because == privacyfilter.BecauseChoice {
		return purposepb.Choice_CHOICE_DENY, false // perhaps so new that the row does not say it yet
	}
	return state.GetChoice(), state.GetImported()
}

// Since is when the present uninterrupted allow began, in Unix microseconds: 0 (1970) where it was imported with no earlier acceptance to rest on.
// It tells false where the purpose is denied or knows no beginning.
func (r Record) Since(p *privacyfilter.Purpose) (int64, bool) {
	state := r.row.states[p.Index]
	if !r.row.decisions[p.Index].Allow || state.GetFloor() == nil {
		return 0, false
	}
	return state.GetFloorTime(), true
}

// Blocks are what someone does not want to see.
type Blocks struct {
	Items      map[string]struct{}
	Categories map[string]struct{}
}

var noBlocks = newBlocks(nil, nil)

func newBlocks(items, categories []string) *Blocks {
	b := &Blocks{Items: make(map[string]struct{}, len(items)), Categories: make(map[string]struct{}, len(categories))}
	for _, id := range items {
		b.Items[id] = struct{}{}
	}
	for _, name := range categories {
		b.Categories[name] = struct{}{}
	}
	return b
}

// Digest is a short text that is equal for equal blocks, empty for none.
func (b *Blocks) Digest() string {
	if len(b.Items) == 0 && len(b.Categories) == 0 {
		return ""
	}
	hash := sha256.New()
	for _, set := range []map[string]struct{}{b.Items, b.Categories} {
		for _, id := range slices.Sorted(maps.Keys(set)) {
			hash.Write([]byte(id))
			hash.Write([]byte{0xff}) // in no UTF-8 text
		}
		hash.Write([]byte{0xfe})
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// union is a, b, or a new set of both.
func union[K comparable](a, b map[K]struct{}) map[K]struct{} {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}
