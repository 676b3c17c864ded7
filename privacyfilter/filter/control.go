package filter

import (
	"bytes"
	"slices"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/stream"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// result is what a control record did.
type result string

const (
	changed   result = "changed"
	unchanged result = "unchanged" // a repetition: only the revision moves
	ignored   result = "ignored"   // it yields to an older record, or asks for what there is not
	overtaken result = "overtaken" // a permission that yields to a restriction which its asker did not know
)

// act is a control record as it is folded into a row.
type act struct {
	f        *filter
	rec      *stream.Record
	control  *eventpb.Control
	row      *purposepb.ConsentRow
	revision privacyfilter.Revision
	received int64
	since    int64 // floor time of what this record newly allows
}

// control folds a person's own act into their row.
func (f *filter) control(rec *stream.Record, lr *eventpb.LogRecord) error {
	c, flaw := f.openControl(rec, lr)
	if flaw != nil {
		return f.reject(rec, lr, *flaw)
	}
	a := &act{
		f: f, rec: rec, control: c, row: f.ledger.Mutate(rec.Key), received: lr.ReceivedAt, since: lr.ReceivedAt,
		revision: privacyfilter.Revision{Generation: f.Generation, Partition: rec.Partition, Offset: rec.Offset},
	}
	f.noteHeld(a.row)
	name, did, err := a.apply()
	if err != nil {
		return err
	}
	if err := a.settle(); err != nil {
		return err
	}
	a.row.Revision = a.revision.PB()
	f.controls.WithLabelValues(name, string(did)).Inc()
	a.publish()
	return nil
}

func (f *filter) openControl(rec *stream.Record, lr *eventpb.LogRecord) (*eventpb.Control, *fault) {
	body, err := ingest.OpenBody(f.Ring, rec.Key, lr, nil)
	if err != nil {
		return nil, sealedFault(err)
	}
	c := new(eventpb.Control)
	if err := c.UnmarshalVT(body); err != nil {
		return nil, &fault{"undecodable", "the body must be a protobuf Control"}
	}
	if key := f.Ring.LogKey(c.Subject); !bytes.Equal(key[:], rec.Key) {
		return nil, &fault{"wrong_subject", "must be the subject of the record's key"}
	}
	return c, nil
}

// noteHeld remembers, by purpose, what holds before the record.
func (f *filter) noteHeld(row *purposepb.ConsentRow) {
	for i, p := range f.Register.Purposes() {
		state := privacyfilter.StateOf(row, p.Name)
		f.held[i] = state != nil && state.Floor != nil && f.grants(row, p).Allow
	}
}

// grants is the decision that a purpose's floor follows. A legal purpose's allow never ends, so its floor follows the acceptance, which its further types wait for.
func (f *filter) grants(row *purposepb.ConsentRow, p *privacyfilter.Purpose) privacyfilter.Decision {
	if p.Tier == privacyfilter.Legal {
		return f.Register.Accepted(row, p)
	}
	return f.Register.Effective(row, p, "")
}

// apply folds the act itself, without its consequences.
func (a *act) apply() (name string, did result, err error) {
	switch c := a.control.Act.(type) {
	case *eventpb.Control_Policy_:
		return "policy", a.policy(c.Policy), nil
	case *eventpb.Control_Choice_:
		return "choice", a.choose(c.Choice), nil
	case *eventpb.Control_Block_:
		return "block", a.block(c.Block), nil
	case *eventpb.Control_Import_:
		return "import", a.importRecords(c.Import), nil
	case *eventpb.Control_DeleteHistory_:
		if len(c.DeleteHistory.Event) > 0 {
			did, err = a.deleteEvent(c.DeleteHistory.Event)
		} else {
			did, err = a.deleteAll()
		}
		return "delete_history", did, err
	default:
		return "unknown", ignored, nil // of a later version: its revision moves, so that whoever waits for it is answered
	}
}

// overtaken tells whether the record is a permission that yields to a restriction, because the node that wrote it did not know the restriction when it was
// asked. Such a permission may be minutes old: a connection stood still, and delivers it after its sender has repeated it elsewhere and taken it back. A
// restriction never yields. If both arrive concurrently, the restriction wins.
func (a *act) overtaken(restricted *purposepb.Revision) bool {
	if a.control.Known == nil || restricted == nil {
		return false
	}
	known, err := privacyfilter.ParseRevision(*a.control.Known)
	if err != nil {
		known = privacyfilter.Revision{} // the subject had no records
	}
	return known.Compare(privacyfilter.RevisionFromPB(restricted)) < 0
}

// policy accepts or withdraws. An acceptance yields to any newer one, too, since another jurisdiction may deny more. An older version than the accepted one
// changes nothing, and neither does a version that the register does not know. If the record names no jurisdiction, the recorded one stays; without one it is
// the deployment's. A page may only narrow: where its jurisdiction permits more than the recorded one, its acceptance yields, and its withdrawal withdraws alone.
func (a *act) policy(p *eventpb.Control_Policy) result {
	place := p.Jurisdiction
	widens := p.Narrows && place != "" && a.row.Jurisdiction != "" && !a.f.Register.NoWider(place, a.row.Jurisdiction)
	if p.Accepted && (widens || a.overtaken(a.row.PolicyAt)) {
		return overtaken
	}
	if widens {
		place = ""
	}
	if place == "" {
		place = a.row.Jurisdiction
	}
	if place == "" {
		place = a.f.Register.DefaultJurisdiction()
	}
	version := ""
	if p.Accepted {
		age := a.f.Register.PolicyAge(p.Version)
		if age < 0 {
			return ignored
		}
		version = p.Version
		if had := a.f.Register.PolicyAge(a.row.PolicyVersion); had >= 0 && had < age {
			version = a.row.PolicyVersion
		}
	}
	a.row.PolicyAt = a.revision.PB()
	if version == a.row.PolicyVersion && place == a.row.Jurisdiction {
		return unchanged
	}
	a.row.PolicyVersion, a.row.Jurisdiction = version, place
	return changed
}

func (a *act) choose(c *eventpb.Control_Choice) result {
	p, ok := a.f.Register.Purpose(c.Purpose)
	if !ok || !p.Tier.Optional() {
		return ignored
	}
	state, choice := stateOf(a.row, p.Name), purposepb.Choice_CHOICE_ALLOW
	if c.Allow && a.overtaken(state.Denied) {
		return overtaken
	}
	if !c.Allow {
		choice, state.Denied = purposepb.Choice_CHOICE_DENY, a.revision.PB()
	}
	if state.Choice == choice {
		return unchanged
	}
	state.Choice, state.Imported = choice, false
	return changed
}

// maxBlockID is how long the id of an item or the name of a category may be.
const maxBlockID = 256

func (a *act) block(b *eventpb.Control_Block) result {
	count := &a.row.BlockedItems
	switch b.Kind {
	case eventpb.Control_Block_ITEM:
	case eventpb.Control_Block_CATEGORY:
		count = &a.row.BlockedCategories
	default:
		return ignored
	}
	if b.Id == "" || len(b.Id) > maxBlockID {
		return ignored
	}
	key := append(bytes.Clone(a.rec.Key), privacyfilter.ChunkOf(b.Id))
	chunk := a.f.blocks.Mutate(key)
	did := a.fold(listOf(chunk, b.Kind), b, count)
	if len(chunk.Items)+len(chunk.Categories) == 0 {
		a.f.blocks.Delete(key)
	}
	if did == changed {
		a.publishBlocks(key, chunk.Blocks)
	}
	return did
}

// fold blocks or unblocks, and counts what is blocked.
func (a *act) fold(list blockList, b *eventpb.Control_Block, count *uint32) result {
	i, blocked := slices.BinarySearch(*list.ids, b.Id)
	switch {
	case b.Remove && !blocked:
		return unchanged
	case b.Remove && a.overtaken((*list.at)[i].PB()):
		return overtaken
	case b.Remove:
		list.remove(i)
		*count--
	case blocked:
		(*list.at)[i] = a.revision
		return unchanged
	case *count >= privacyfilter.MaxBlocks:
		return ignored
	default:
		list.insert(i, b.Id, a.revision)
		*count++
	}
	return changed
}

// blockList is what a chunk holds of one kind of blocks: sorted ids, and the newest record that blocked each.
type blockList struct {
	ids *[]string
	at  *[]privacyfilter.Revision
}

func listOf(chunk *privacyfilter.BlockRecords, kind eventpb.Control_Block_Kind) blockList {
	if kind == eventpb.Control_Block_CATEGORY {
		return blockList{&chunk.Categories, &chunk.CategoriesAt}
	}
	return blockList{&chunk.Items, &chunk.ItemsAt}
}

func (l blockList) insert(i int, id string, revision privacyfilter.Revision) {
	*l.ids, *l.at = slices.Insert(*l.ids, i, id), slices.Insert(*l.at, i, revision)
}

func (l blockList) remove(i int) {
	*l.ids, *l.at = slices.Delete(*l.ids, i, i+1), slices.Delete(*l.at, i, i+1)
}

// blocksCodec writes a chunk of a person's blocks.
type blocksCodec struct{}

func (blocksCodec) Encode(buf []byte, chunk *privacyfilter.BlockRecords) ([]byte, error) {
	return privacyfilter.AppendBlockRecords(buf, chunk), nil
}

func (blocksCodec) Decode(data []byte) (*privacyfilter.BlockRecords, error) {
	return privacyfilter.ParseBlockRecords(data)
}

// importRecords takes over what held before a file was read, unless the subject has a record of it: every policy record leaves a jurisdiction in the row, and
// every choice stays there. A grant reaches no further back than the acceptance that it rests on, or than the last deletion of everything.
func (a *act) importRecords(i *eventpb.Control_Import) result {
	did := ignored
	since := max(0, min(i.EffectiveAt, a.received))
	if a.row.Jurisdiction == "" {
		did = a.policy(&eventpb.Control_Policy{Version: i.PolicyVersion, Accepted: true, Jurisdiction: i.Jurisdiction})
	} else {
		since = max(since, a.acceptedSince())
	}
	a.since = since
	for _, name := range i.Grants {
		p, ok := a.f.Register.Purpose(name)
		if !ok || !p.Tier.Optional() {
			continue
		}
		state := stateOf(a.row, name)
		if state.Choice != purposepb.Choice_CHOICE_NONE {
			continue
		}
		state.Choice, state.Imported = purposepb.Choice_CHOICE_ALLOW, true
		did = changed
	}
	return did
}

// acceptedSince is the time from which the acceptance in the row holds, or a later deletion of everything. The basic purposes' floors show it, since they need
// nothing else; without one it is the record's own time. A legal purpose's floor does not show it: no deletion raises that.
func (a *act) acceptedSince() int64 {
	since, holds := int64(0), false
	for i, p := range a.f.Register.Purposes() {
		if a.f.held[i] && p.Tier == privacyfilter.Basic {
			since, holds = max(since, privacyfilter.StateOf(a.row, p.Name).FloorTime), true
		}
	}
	if !holds {
		return a.received
	}
	return since
}

// stateOf is the row's state of the purpose, made if there is none.
func stateOf(row *purposepb.ConsentRow, purpose string) *purposepb.PurposeState {
	if state := privacyfilter.StateOf(row, purpose); state != nil {
		return state
	}
	state := &purposepb.PurposeState{Purpose: purpose}
	row.Purposes = append(row.Purposes, state)
	return state
}

// settle updates every purpose's state to what now holds. A floor moves only where the decision changed, and then the purpose's stream gets a record of it.
func (a *act) settle() error {
	for i, p := range a.f.Register.Purposes() {
		now, before := a.f.grants(a.row, p), a.f.held[i]
		state := privacyfilter.StateOf(a.row, p.Name)
		if state == nil && !now.Allow {
			continue
		}
		state = stateOf(a.row, p.Name)
		stale := state.Floor != nil && !before // it held once; a newer policy version ended that, without a record
		decision := a.f.Register.Effective(a.row, p, "")
		state.Allow, state.Because = decision.Allow, decision.Because
		if now.Allow == before && !stale {
			continue
		}
		state.Floor, state.FloorTime = nil, 0
		if now.Allow {
			state.Floor, state.FloorTime = a.revision.PB(), a.since
		}
		if err := a.purge(p, before || stale); err != nil {
			return err
		}
	}
	return nil
}

// rowCodec writes a row of the ledger as sluice.consent has it.
type rowCodec struct{}

func (rowCodec) Encode(buf []byte, row *purposepb.ConsentRow) ([]byte, error) {
	return privacyfilter.AppendRow(buf, row), nil
}

func (rowCodec) Decode(data []byte) (*purposepb.ConsentRow, error) {
	return privacyfilter.ParseRow(data)
}
