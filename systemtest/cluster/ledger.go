package cluster

import (
	"context"
	"errors"
	"sync"

	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// sentEvent names an event that was sent.
type sentEvent struct{ subject, id string } // an item view

// ledger knows which events were sent, and which of them a collector has acknowledged.
type ledger struct {
	keys *pseudonym.Keys

	mu           sync.Mutex                    // guards acknowledged
	acknowledged map[[pseudonym.Size]byte]bool // by the pseudonym on the topic; false: nobody knows what became of it
}

func newLedger(ring *seal.Keyring) *ledger {
	return &ledger{keys: pseudonym.New(ring), acknowledged: make(map[[pseudonym.Size]byte]bool)}
}

func (l *ledger) note(sent []sentEvent, acknowledged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range sent {
		l.acknowledged[l.keys.Event(privacyfilter.Personalize, e.subject, vocab.Type_VIEW_ITEM, e.id)] = acknowledged
	}
}

// verdict is what became of the events. Everything but the first three must be 0.
type verdict struct {
	Acknowledged int64 `json:"acknowledged"`
	Unknown      int64 `json:"unknown"`  // the request failed
	OnTopic      int64 `json:"on_topic"` // records of events on sluice.personalize

	Lost       int64 `json:"lost"` // acknowledged, and not there
	Doubled    int64 `json:"doubled"`
	Unexpected int64 `json:"unexpected"` // never sent
	Lag        int64 `json:"lag"`
}

// judge compares the topic with what was sent.
func (l *ledger) judge(ctx context.Context, cluster stream.Cluster, lag int64) (verdict, error) {
	v, there := verdict{Lag: lag}, make(map[[pseudonym.Size]byte]int)
	var broken error
	err := stream.ReadAll(ctx, cluster, topics.Personalize, func(recs []stream.Record) {
		for _, rec := range recs {
			var r purposepb.PersonalRecord
			if err := r.UnmarshalVT(rec.Value); err != nil {
				broken = err
				continue
			}
			if event := r.GetEvent().GetEvent(); len(event) == pseudonym.Size {
				there[[pseudonym.Size]byte(event)]++
				v.OnTopic++
			}
		}
	})
	if err != nil || broken != nil {
		return v, errors.Join(err, broken)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for event, acknowledged := range l.acknowledged {
		switch {
		case !acknowledged:
			v.Unknown++
		case there[event] == 0:
			v.Lost++
			fallthrough
		default:
			v.Acknowledged++
		}
	}
	for event, times := range there {
		if times > 1 {
			v.Doubled += int64(times - 1)
		}
		if _, sent := l.acknowledged[event]; !sent {
			v.Unexpected++
		}
	}
	return v, nil
}
