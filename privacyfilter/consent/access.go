package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"sluice/internal/vocab"
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

// Kinds of subjects, as their names begin.
const (
	account = "u:"
	device  = "a:"
)

// side is one of the two subjects of a request, as the view knew it.
type side struct {
	kind, id string // empty: not named
	key      logKey
	person   person
	shape    *privacyfilter.Shape // of its row, or a stranger's; never nil in a side that is named
	laid     *overlay             // nil: no restrictions beside the row
}

func (s *side) named() bool { return s.kind != "" }

func (s *side) subject() string { return s.kind + s.id }

// recorded tells whether the subject has records about consent: one without is neutral beside one that has them.
func (s *side) recorded() bool {
	return s.shape != nil && (s.shape.Answered || s.laid != nil && s.laid.answered)
}

// decision is what holds for a purpose by the subject's records.
func (s *side) decision(p *privacyfilter.Purpose) privacyfilter.Decision {
	if s.laid != nil {
		return s.laid.decisions[p.Index]
	}
	return s.shape.Decision(p)
}

// allows tells whether a purpose may use an event of the type and jurisdiction, which only narrows.
func (s *side) allows(p *privacyfilter.Purpose, t vocab.Type, jurisdiction string) bool {
	if !s.shape.Allows(p, t, jurisdiction) {
		return false
	}
	if s.laid == nil {
		return true
	}
	if p.AfterAcceptance(t) {
		return !s.laid.withdrawn
	}
	return s.laid.decisions[p.Index].Allow
}

// floor is where the purpose's present allow began.
func (s *side) floor(p *privacyfilter.Purpose) privacyfilter.Revision {
	if s.laid != nil && !s.laid.floors[p.Index].IsZero() {
		return s.laid.floors[p.Index]
	}
	g, _ := s.person.grant(p)
	return g.Floor
}

// blocks are the subject's, nil if there are none.
func (s *side) blocks() *Blocks {
	switch {
	case s.laid != nil && s.laid.blocks != nil:
		return s.laid.blocks
	default:
		return s.person.blocks()
	}
}

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
		decision := a.account.decision(p)
		if decision.Allow && !a.device.decision(p).Allow {
			return privacyfilter.Decision{Because: privacyfilter.BecauseDevice}
		}
		return decision
	case account:
		return a.account.decision(p)
	case device:
		return a.device.decision(p)
	default:
		return a.view.stranger.Decision(p)
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
		if s.named() && s.decision(p).Allow {
			out = append(out, a.view.compiler.identity(s, p))
		}
	}
	return out
}

// HiddenEvents are the personalize hashes of events that were deleted so recently that features may still hold them. Nil: none. It must not be changed.
func (a *Access) HiddenEvents() map[uint64]struct{} {
	var account, device map[uint64]struct{}
	if a.account.laid != nil {
		account = a.account.laid.events
	}
	if a.device.laid != nil {
		device = a.device.laid.events
	}
	return union(account, device)
}

// HidesHistory tells whether the footprint with this history event id was deleted so recently that the history may still hold it.
func (a *Access) HidesHistory(event []byte) bool {
	for _, s := range []*side{&a.account, &a.device} {
		if s.laid == nil {
			continue
		}
		if _, hidden := s.laid.footprints[string(event)]; hidden || s.laid.hideAll {
			return true
		}
	}
	return false
}

// Blocks are the items and categories that the account or the device does not want to see. Never nil; it must not be changed.
func (a *Access) Blocks() *Blocks {
	account, device := a.account.blocks(), a.device.blocks()
	switch {
	case account == nil && device == nil:
		return noBlocks
	case account == nil:
		return device
	case device == nil:
		return account
	default:
		return account.with(device)
	}
}

// Revision is the revision of the acting subject's newest record; zero if it has none. The acting subject is the account if one is named.
func (a *Access) Revision() privacyfilter.Revision { return a.acting().person.newest() }

// KnownOf is the revision up to which this node knows every acknowledged restriction of the acting subject for which of tells true. It is the newest such
// restriction that the filter has not confirmed yet; without one it is the row's revision. The filter's row holds everything up to its revision. Of what is
// newer, a node knows only what comes by the fast path, in any order. Zero: the subject has no records.
func (a *Access) KnownOf(of func(r *purposepb.Restriction) bool) privacyfilter.Revision {
	p := &a.acting().person
	for _, r := range slices.Backward(p.pending()) {
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
	Known         bool   // something is recorded of the subject
	of            *side
}

// Record of the acting subject. It is empty for a stranger.
func (a *Access) Record() Record {
	s := a.acting()
	if !s.named() {
		return Record{of: &side{shape: a.view.stranger}}
	}
	r := Record{Jurisdiction: s.shape.Row.Jurisdiction, Pending: len(s.person.pending()), Known: !s.person.empty(), of: s}
	if s.laid == nil || !s.laid.withdrawn {
		r.PolicyVersion = s.shape.Row.PolicyVersion
	}
	return r
}

// Choice is the person's own choice for the purpose, and whether it was imported.
func (r Record) Choice(p *privacyfilter.Purpose) (choice purposepb.Choice, imported bool) {
	state := r.of.shape.State(p)
	if d := r.of.decision(p); !d.Allow && d.Because == privacyfilter.BecauseChoice {
		return purposepb.Choice_CHOICE_DENY, false // perhaps so new that the row does not say it yet
	}
	return state.GetChoice(), state.GetImported()
}

// Since is when the present uninterrupted allow began, in Unix microseconds: 0 (1970) where it was imported with no earlier acceptance to rest on.
// It tells false where the purpose is denied or knows no beginning.
func (r Record) Since(p *privacyfilter.Purpose) (int64, bool) {
	g, ok := r.of.person.grant(p)
	if !ok || !r.of.decision(p).Allow {
		return 0, false
	}
	return g.Time, true
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

// replace is a new set with other blocks of the chunk, nil if there are none.
func (b *Blocks) replace(number byte, chunk privacyfilter.Blocks) *Blocks {
	next := newBlocks(chunk.Items, chunk.Categories)
	if b != nil {
		keep(next.Items, b.Items, number)
		keep(next.Categories, b.Categories, number)
	}
	if len(next.Items)+len(next.Categories) == 0 {
		return nil
	}
	return next
}

// keep adds what is in other chunks than the one with the number.
func keep(into, from map[string]struct{}, number byte) {
	for id := range from {
		if privacyfilter.ChunkOf(id) != number {
			into[id] = struct{}{}
		}
	}
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

// with is a new set of both.
func (b *Blocks) with(o *Blocks) *Blocks {
	return &Blocks{Items: union(b.Items, o.Items), Categories: union(b.Categories, o.Categories)}
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
