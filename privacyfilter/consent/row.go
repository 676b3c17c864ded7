package consent

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// logKey is a subject's log pseudonym.
type logKey = [16]byte

// person is what the view knows of one subject, immutable: a change puts a new one in its place, so that equal pointers mean that nothing changed.
// The row stays encoded, since most people are not here at the moment.
type person struct {
	row      []byte // a purposepb.ConsentRow, nil if there is none
	revision privacyfilter.Revision
	offset   int64          // of the row on sluice.consent
	pending  []*restriction // not yet overtaken by the row, oldest first
	hidden   []*restriction // overtaken, and still hiding an event that the features may not have purged yet
	ready    atomic.Pointer[compiled]
}

// restriction is a record of the fast path.
type restriction struct {
	revision privacyfilter.Revision
	*purposepb.Restriction
}

// empty is whether nothing at all is known of the person.
func (p *person) empty() bool { return p.row == nil && len(p.pending) == 0 && len(p.hidden) == 0 }

// newest is the revision of the newest record that the person made.
func (p *person) newest() privacyfilter.Revision {
	if p == nil {
		return privacyfilter.Revision{}
	}
	if n := len(p.pending); n > 0 {
		return p.pending[n-1].revision
	}
	return p.revision
}

// withRow is the person with another row, and the restrictions that it overtook. A nil row means that the row was deleted: it overtakes nothing.
func (p *person) withRow(row []byte, revision privacyfilter.Revision, offset int64) (next *person, overtaken []*restriction) {
	next = &person{row: row, revision: revision, offset: offset, hidden: p.hidden}
	for _, r := range p.pending {
		if row == nil || r.revision.Compare(revision) > 0 {
			next.pending = append(next.pending, r)
			continue
		}
		overtaken = append(overtaken, r)
		if len(r.HideEvent) > 0 {
			next.hidden = append(slices.Clip(next.hidden), r)
		}
	}
	return next, overtaken
}

// withRestriction is the person with one more restriction, which is pending or overtaken already. A repeated one changes nothing.
func (p *person) withRestriction(r *restriction) (next *person, overtaken bool) {
	same := func(o *restriction) bool { return o.revision == r.revision }
	if slices.ContainsFunc(p.pending, same) || slices.ContainsFunc(p.hidden, same) {
		return p, false
	}
	next = &person{row: p.row, revision: p.revision, offset: p.offset, pending: p.pending, hidden: p.hidden}
	if p.row != nil && p.revision.Compare(r.revision) >= 0 {
		if len(r.HideEvent) > 0 {
			next.hidden = append(slices.Clip(p.hidden), r)
		}
		return next, true
	}
	at, _ := slices.BinarySearchFunc(p.pending, r, func(a, b *restriction) int { return a.revision.Compare(b.revision) })
	next.pending = slices.Insert(slices.Clone(p.pending), at, r)
	return next, false
}

// without is the person with one hidden event less.
func (p *person) without(revision privacyfilter.Revision) *person {
	next := &person{row: p.row, revision: p.revision, offset: p.offset, pending: p.pending}
	for _, r := range p.hidden {
		if r.revision != revision {
			next.hidden = append(next.hidden, r)
		}
	}
	return next
}

// compiled is a person's row with the pending restrictions laid over it, ready to be asked. It is immutable but for the identities, which are made once, when asked for.
type compiled struct {
	row        *purposepb.ConsentRow // nil: none
	answered   bool                  // the person has said something about consent; a block, say, is no such record
	decisions  []privacyfilter.Decision
	states     []*purposepb.PurposeState // nil: none
	floors     []privacyfilter.Revision
	identities []atomic.Pointer[Identity]
	blocks     *Blocks
	events     map[uint64]struct{} // personalize events deleted just now
	footprints map[string]struct{} // history events deleted just now
	hideAll    bool                // the whole history was deleted, and the row with the new floors is not here yet
	withdrawn  bool                // the policy's acceptance was taken back, and the row is not here yet
}

// compiler makes compiled rows.
type compiler struct {
	register *privacyfilter.Register
	purposes []*privacyfilter.Purpose
	keys     *pseudonym.Keys
	floored  []string // purposes whose floor a deletion of everything raises
}

func newCompiler(register *privacyfilter.Register, keys *pseudonym.Keys) *compiler {
	return &compiler{
		register: register, purposes: register.Purposes(), keys: keys,
		floored: []string{privacyfilter.History, privacyfilter.Personalize, privacyfilter.Trending},
	}
}

// compile makes the compiled form of a person, nil for someone of whom nothing is known. The subject opens the sealed ids of deleted events.
func (c *compiler) compile(subject string, p *person) *compiled {
	n := len(c.purposes)
	out := &compiled{
		decisions: make([]privacyfilter.Decision, n), states: make([]*purposepb.PurposeState, n),
		floors: make([]privacyfilter.Revision, n), identities: make([]atomic.Pointer[Identity], n),
	}
	if p != nil && p.row != nil {
		row := new(purposepb.ConsentRow)
		if row.UnmarshalVT(p.row) == nil { // it was decoded once when it came
			out.row = row
		}
	}
	out.answered = out.row.GetPolicyVersion() != "" || out.row.GetJurisdiction() != "" // which every answer to the policy leaves behind
	for _, s := range out.row.GetPurposes() {
		out.answered = out.answered || s.Choice != purposepb.Choice_CHOICE_NONE
		if purpose, ok := c.register.Purpose(s.Purpose); ok {
			out.states[purpose.Index] = s
			out.floors[purpose.Index] = privacyfilter.RevisionFromPB(s.Floor)
		}
	}
	for _, purpose := range c.purposes {
		out.decisions[purpose.Index] = c.register.Effective(out.row, purpose, "")
	}
	blocks := newBlocks(out.row.GetBlockedItems(), out.row.GetBlockedCategories())
	if p != nil {
		for _, r := range p.pending {
			c.restrict(out, blocks, r)
		}
		c.hide(out, subject, p)
	}
	if len(blocks.Items)+len(blocks.Categories) > 0 {
		out.blocks = blocks
	}
	return out
}

// restrict lays one pending restriction over the row.
func (c *compiler) restrict(out *compiled, blocks *Blocks, r *restriction) {
	out.withdrawn = out.withdrawn || r.DenyAll
	out.answered = out.answered || r.DenyAll || len(r.Deny) > 0
	for _, purpose := range c.purposes {
		decision := &out.decisions[purpose.Index]
		switch {
		case slices.Contains(r.Deny, purpose.Name):
			*decision = privacyfilter.Decision{Because: privacyfilter.BecauseChoice}
		case r.DenyAll && purpose.Tier != privacyfilter.Legal:
			*decision = privacyfilter.Decision{Because: privacyfilter.BecausePolicyNotAccepted}
		}
	}
	if r.BlockItem != "" {
		blocks.Items[r.BlockItem] = struct{}{}
	}
	if r.BlockCategory != "" {
		blocks.Categories[r.BlockCategory] = struct{}{}
	}
	if !r.HideHistory {
		return
	}
	// The filter will raise these floors to this very revision: what lies under the old ones is unreadable from here on.
	out.hideAll = true
	for _, name := range c.floored {
		if purpose, ok := c.register.Purpose(name); ok {
			out.floors[purpose.Index] = r.revision
		}
	}
}

// hide collects the events that were deleted one by one, as history and personalize know them.
func (c *compiler) hide(out *compiled, subject string, p *person) {
	for _, list := range [][]*restriction{p.pending, p.hidden} {
		for _, r := range list {
			if len(r.HideEvent) == 0 {
				continue
			}
			of, err := c.keys.OpenEvent(privacyfilter.History, subject, r.HideEvent)
			if err != nil {
				continue // not an event of this subject: there is nothing to hide
			}
			if out.events == nil {
				out.events, out.footprints = make(map[uint64]struct{}), make(map[string]struct{})
			}
			event := c.keys.EventOf(privacyfilter.Personalize, of)
			out.events[binary.BigEndian.Uint64(event[:8])] = struct{}{}
			out.footprints[string(r.HideEvent)] = struct{}{}
		}
	}
}

// decide tells whether a purpose that takes the type may use an event of the type and jurisdiction, which only narrows.
func (c *compiler) decide(row *compiled, purpose *privacyfilter.Purpose, t vocab.Type, jurisdiction string) bool {
	if purpose.AfterAcceptance(t) {
		return !row.withdrawn && c.register.Accepted(row.row, purpose).Allow
	}
	if !row.decisions[purpose.Index].Allow {
		return false
	}
	if jurisdiction == "" || row.row != nil && jurisdiction == row.row.Jurisdiction {
		return true
	}
	return c.register.Effective(row.row, purpose, jurisdiction).Allow
}

// identity is who the subject is for a purpose, made once.
func (c *compiler) identity(row *compiled, purpose *privacyfilter.Purpose, subject string) Identity {
	if made := row.identities[purpose.Index].Load(); made != nil {
		return *made
	}
	made := Identity{Subject: c.keys.Subject(purpose.Name, subject, row.row.GetIncarnation())}
	if floor := row.floors[purpose.Index]; !floor.IsZero() {
		made.Floor = c.keys.Floor(purpose.Name, subject, floor)
	}
	row.identities[purpose.Index].Store(&made)
	return made
}

// Keys on sluice.consent. A row: 'r' ‖ log pseudonym. A restriction: 'x' ‖ log pseudonym ‖ revision as 4+4+8 bytes, big endian.
const (
	rowTag         = 'r'
	restrictionTag = 'x'
	rowKeySize     = 1 + len(logKey{})
	restrictionKey = rowKeySize + privacyfilter.RevisionBytes
)

func keyOfRestriction(key logKey, r privacyfilter.Revision) []byte {
	out := make([]byte, 0, restrictionKey)
	out = append(append(out, restrictionTag), key[:]...)
	return r.Append(out)
}

func parseRestrictionKey(key []byte) (logKey, privacyfilter.Revision, bool) {
	if len(key) != restrictionKey || key[0] != restrictionTag {
		return logKey{}, privacyfilter.Revision{}, false
	}
	tail := key[rowKeySize:]
	return logKey(key[1:rowKeySize]), privacyfilter.Revision{
		Generation: binary.BigEndian.Uint32(tail), Partition: int32(binary.BigEndian.Uint32(tail[4:])), Offset: int64(binary.BigEndian.Uint64(tail[8:])),
	}, true
}

// hideFor is how long an event stays hidden after the row has overtaken its deletion: the features purge it behind the filter.
const hideFor = time.Hour
