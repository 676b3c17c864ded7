package consent

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// logKey is a subject's log pseudonym.
type logKey = [16]byte

// person is what the view knows of one subject: a value that is equal as long as nothing changes. Of the zero person nothing is known.
// Most people are no more than a shape that many share, the row's place, and when they accepted and chose.
type person struct {
	shape    *privacyfilter.Shape // nil: there is no row
	more     *more                // nil: there is none
	revision privacyfilter.Revision
	offset   int64      // of the row on sluice.consent
	grants   [2]allowed // of the row, unless more has them
}

// allowed is a grant of the row's own generation and partition.
type allowed struct{ offset, time int64 }

// more is what few people have. It is immutable but for what is laid over the row, which is made when it is asked for.
type more struct {
	grants  []privacyfilter.Grant // that a person has no room for
	blocks  *Blocks               // that stand beside the row; nil: none
	pending []*restriction        // not yet overtaken by the row, oldest first
	hidden  []*restriction        // overtaken, and still hiding an event that the features may not have purged yet
	laid    atomic.Pointer[overlay]
}

// restriction is a record of the fast path.
type restriction struct {
	revision privacyfilter.Revision
	*purposepb.Restriction
}

// newPerson is a person with a row and nothing else. The row's memory is not kept.
func newPerson(row *privacyfilter.Row, offset int64) person {
	p := person{shape: row.Shape, revision: row.Revision, offset: offset}
	for i, g := range row.Grants {
		if i == len(p.grants) || g.Floor.Generation != row.Revision.Generation || g.Floor.Partition != row.Revision.Partition {
			p.more, p.grants = &more{grants: slices.Clone(row.Grants)}, [2]allowed{}
			break
		}
		p.grants[i] = allowed{g.Floor.Offset, g.Time}
	}
	return p
}

// grant is what the row says of when the purpose's present allow began; false if nothing.
func (p *person) grant(of *privacyfilter.Purpose) (g privacyfilter.Grant, ok bool) {
	if p.shape == nil {
		return g, false
	}
	i := p.shape.Grant(of)
	switch {
	case i < 0:
		return g, false
	case p.more != nil && p.more.grants != nil:
		g = p.more.grants[i]
	default:
		g = privacyfilter.Grant{Floor: p.revision, Time: p.grants[i].time}
		g.Floor.Offset = p.grants[i].offset
	}
	return g, !g.Floor.IsZero()
}

func (p *person) pending() []*restriction {
	if p.more == nil {
		return nil
	}
	return p.more.pending
}

func (p *person) hidden() []*restriction {
	if p.more == nil {
		return nil
	}
	return p.more.hidden
}

// with is the person with other restrictions.
func (p person) with(pending, hidden []*restriction) person {
	return p.beside(p.blocks(), pending, hidden)
}

// withBlocks is the person with other blocks.
func (p person) withBlocks(b *Blocks) person { return p.beside(b, p.pending(), p.hidden()) }

// beside is the person with other blocks and restrictions.
func (p person) beside(blocks *Blocks, pending, hidden []*restriction) person {
	next := &more{blocks: blocks, pending: pending, hidden: hidden}
	if p.more != nil {
		next.grants = p.more.grants
	}
	p.more = next
	if next.grants == nil && next.blocks == nil && len(pending)+len(hidden) == 0 {
		p.more = nil
	}
	return p
}

func (p *person) blocks() *Blocks {
	if p.more == nil {
		return nil
	}
	return p.more.blocks
}

// empty is whether nothing at all is known of the person.
func (p *person) empty() bool { return p.shape == nil && p.more == nil }

// newest is the revision of the newest record that the person made.
func (p *person) newest() privacyfilter.Revision {
	if pending := p.pending(); len(pending) > 0 {
		return pending[len(pending)-1].revision
	}
	return p.revision
}

// withRow is a person after a new row, or after the deletion of the row. It keeps the blocks, and the restrictions that the row has not overtaken, and notes those that it has.
// A deleted row overtakes nothing.
func (p *person) withRow(row person) (next person, overtaken []*restriction) {
	var pending []*restriction
	hidden := p.hidden()
	for _, r := range p.pending() {
		if row.shape == nil || r.revision.Compare(row.revision) > 0 {
			pending = append(pending, r)
			continue
		}
		overtaken = append(overtaken, r)
		if len(r.HideEvent) > 0 {
			hidden = append(slices.Clip(hidden), r)
		}
	}
	blocks := p.blocks()
	if blocks == nil && len(pending)+len(hidden) == 0 {
		return row, overtaken
	}
	return row.beside(blocks, pending, hidden), overtaken
}

// withRestriction is the person with one more restriction, which is pending or overtaken already. A repeated one changes nothing.
func (p *person) withRestriction(r *restriction) (next person, overtaken bool) {
	same := func(o *restriction) bool { return o.revision == r.revision }
	pending, hidden := p.pending(), p.hidden()
	if slices.ContainsFunc(pending, same) || slices.ContainsFunc(hidden, same) {
		return *p, false
	}
	if p.shape != nil && p.revision.Compare(r.revision) >= 0 {
		if len(r.HideEvent) == 0 {
			return *p, true
		}
		return p.with(pending, append(slices.Clip(hidden), r)), true
	}
	at, _ := slices.BinarySearchFunc(pending, r, func(a, b *restriction) int { return a.revision.Compare(b.revision) })
	return p.with(slices.Insert(slices.Clone(pending), at, r), hidden), false
}

// without is the person with one hidden event less.
func (p *person) without(revision privacyfilter.Revision) person {
	return p.with(p.pending(), slices.DeleteFunc(slices.Clone(p.hidden()), func(r *restriction) bool { return r.revision == revision }))
}

// overlay is what a person's restrictions make of the row, immutable.
type overlay struct {
	answered   bool                     // a restriction says something about consent
	withdrawn  bool                     // the policy's acceptance was taken back, and the row is not here yet
	hideAll    bool                     // the whole history was deleted, and the row with the new floors is not here yet
	decisions  []privacyfilter.Decision // of each purpose
	floors     []privacyfilter.Revision // of each purpose; zero: the row's
	blocks     *Blocks                  // with the row's; nil: the row's
	events     map[uint64]struct{}      // personalize events deleted just now
	footprints map[string]struct{}      // history events deleted just now
}

// compiler lays restrictions over rows.
type compiler struct {
	register *privacyfilter.Register
	purposes []*privacyfilter.Purpose
	keys     *pseudonym.Keys
	floored  []string // purposes: a deletion of everything raises their floors
}

func newCompiler(register *privacyfilter.Register, keys *pseudonym.Keys) *compiler {
	return &compiler{
		register: register, purposes: register.Purposes(), keys: keys,
		floored: []string{privacyfilter.History, privacyfilter.Personalize, privacyfilter.Trending},
	}
}

// overlay is what a person's restrictions make of the row with the shape. The subject opens the sealed ids of deleted events.
func (c *compiler) overlay(subject string, shape *privacyfilter.Shape, m *more) *overlay {
	out := &overlay{decisions: make([]privacyfilter.Decision, len(c.purposes)), floors: make([]privacyfilter.Revision, len(c.purposes))}
	for _, purpose := range c.purposes {
		out.decisions[purpose.Index] = shape.Decision(purpose)
	}
	blocks := newBlocks(nil, nil)
	for _, r := range m.pending {
		c.restrict(out, blocks, r)
	}
	if len(blocks.Items)+len(blocks.Categories) > 0 {
		out.blocks = blocks
		if m.blocks != nil {
			out.blocks = m.blocks.with(blocks)
		}
	}
	c.hide(out, subject, m)
	return out
}

// restrict lays one pending restriction over the row.
func (c *compiler) restrict(out *overlay, blocks *Blocks, r *restriction) {
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
func (c *compiler) hide(out *overlay, subject string, m *more) {
	for _, list := range [][]*restriction{m.pending, m.hidden} {
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

// identity is who the subject is for a purpose.
func (c *compiler) identity(s *side, purpose *privacyfilter.Purpose) Identity {
	subject := s.subject()
	is := Identity{Subject: c.keys.Subject(purpose.Name, subject, s.shape.Row.Incarnation)}
	if floor := s.floor(purpose); !floor.IsZero() {
		is.Floor = c.keys.Floor(purpose.Name, subject, floor)
	}
	return is
}

// Keys on sluice.consent. A row: 'r' ‖ log pseudonym. A chunk of blocks: 'b' ‖ log pseudonym ‖ number. A restriction: 'x' ‖ log pseudonym ‖ revision as 4+4+8 bytes, big endian.
const (
	rowTag         = 'r'
	blocksTag      = 'b'
	restrictionTag = 'x'
	rowKeySize     = 1 + len(logKey{})
	blocksKey      = rowKeySize + 1
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
