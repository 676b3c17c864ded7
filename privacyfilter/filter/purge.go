package filter

import (
	"bytes"

	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// purge tells a purpose's stream that everything of the subject goes: a new floor holds, or none. stored tells whether anything can be stored there:
// for the trending lists, which know no floors, there is nothing else to tell.
func (a *act) purge(p *privacyfilter.Purpose, stored bool) error {
	switch p.Name {
	case privacyfilter.History, privacyfilter.Personalize:
		return a.emitPurge(p.Name, nil)
	case privacyfilter.Trending:
		if stored {
			return a.emitTrendingPurge(nil)
		}
	}
	return nil
}

// emitPurge sends a purge of one event, or of everything, on the stream of the history or of personalization, with the floor that holds from here on.
func (a *act) emitPurge(purpose string, event []byte) error {
	subject := a.f.Keys.Subject(purpose, a.control.Subject, a.row.Incarnation)
	purge := &purposepb.Purge{Subject: subject[:], Event: event, Time: a.received}
	if state := privacyfilter.StateOf(a.row, purpose); state.GetFloor() != nil {
		purge.Floor = a.f.Keys.Floor(purpose, a.control.Subject, privacyfilter.RevisionFromPB(state.Floor))
	}
	if purpose == privacyfilter.History {
		return a.f.pack(topics.History, a.rec.Partition, nil, &purposepb.HistoryRecord{Of: &purposepb.HistoryRecord_Purge{Purge: purge}})
	}
	return a.f.pack(topics.Personalize, a.rec.Partition, nil, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: purge}})
}

// emitTrendingPurge names the subject's key in every window that the trending engine still keeps. Before any event went there, there is nothing to purge.
func (a *act) emitTrendingPurge(event []byte) error {
	mark := a.f.marks.Get(markWindow)
	if mark == nil {
		return nil
	}
	newest := windowOf(*mark, a.f.TrendingWindow.Microseconds())
	purge := &purposepb.TrendingPurge{Event: event, Time: a.received}
	for window := newest - int64(a.f.TrendingKept); window <= newest; window++ { // one more than are kept: the engine may be a window behind
		key := a.f.Keys.Contributor(a.control.Subject, a.row.Incarnation, window)
		purge.Contributors = append(purge.Contributors, &purposepb.TrendingPurge_Contributor{Window: window, Key: key[:]})
	}
	return a.f.pack(topics.Trending, a.rec.Partition, nil, &purposepb.TrendingRecord{Of: &purposepb.TrendingRecord_Purge{Purge: purge}})
}

// deleteEvent deletes one footprint, by the id that the history gave, and its effect on the other purposes. Floors stay; the event's hash is kept, so that it
// does not come back.
func (a *act) deleteEvent(sealed []byte) (result, error) {
	of, err := a.f.Keys.OpenEvent(privacyfilter.History, a.control.Subject, sealed)
	if err != nil {
		return ignored, nil // not one of this subject's: nothing to delete
	}
	a.f.rememberDeletion(a.rec.Key, of.Dedupe(), a.received)
	if err := a.emitPurge(privacyfilter.History, sealed); err != nil {
		return changed, err
	}
	event := a.f.Keys.EventOf(privacyfilter.Personalize, of)
	if err := a.emitPurge(privacyfilter.Personalize, event[:]); err != nil {
		return changed, err
	}
	event = a.f.Keys.EventOf(privacyfilter.Trending, of)
	return changed, a.emitTrendingPurge(event[:])
}

// deleteAll deletes the history and what was made of it: the floors of the purposes that hold rise to this record, so that late uploads are below them.
// Single deletions stay remembered: a floor covers what was captured before it, and an id may come again with any time.
func (a *act) deleteAll() (result, error) {
	for i, p := range a.f.Register.Purposes() {
		state := privacyfilter.StateOf(a.row, p.Name)
		if !a.f.held[i] || p.Tier == privacyfilter.Legal {
			continue
		}
		switch p.Name {
		case privacyfilter.History, privacyfilter.Personalize, privacyfilter.Trending:
			state.Floor, state.FloorTime = a.revision.PB(), a.received
			if err := a.purge(p, true); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// publishBlocks sends a chunk of the person's blocks. It stands before the row, so that whoever has the row has the chunk.
func (a *act) publishBlocks(key []byte, blocks privacyfilter.Blocks) {
	var value []byte
	if len(blocks.Items)+len(blocks.Categories) > 0 {
		value = privacyfilter.AppendBlocks(nil, blocks)
	}
	a.f.task.Emit(topics.Consent, a.rec.Partition, append([]byte{'b'}, key...), value)
}

// publish sends the row, with the end of the restriction that this record had on the fast path, and the record itself to the ledger. A record that changed
// nothing is published, too: whoever wrote it waits for the row to reach its revision.
func (a *act) publish() {
	f, partition := a.f, a.rec.Partition
	f.task.Emit(topics.Consent, partition, append([]byte{'r'}, a.rec.Key...), privacyfilter.AppendRow(nil, a.row))
	end := a.revision.Append(append([]byte{'x'}, a.rec.Key...))
	f.task.Emit(topics.Consent, partition, end, nil)
	entry := a.revision.Append(bytes.Clone(a.rec.Key))
	f.task.Emit(topics.Ledger, partition, entry, bytes.Clone(a.rec.Value))
}
