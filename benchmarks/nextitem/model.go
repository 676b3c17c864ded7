package main

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"sluice/features/items"
	"sluice/internal/itemid"
	"sluice/internal/vocab"
)

// model is what serves, over training sessions that each stand for a person of their own.
type model struct {
	ids   *itemid.Table
	items *items.Model
}

func build(train []session, r *result) *model {
	began := cpu()
	m := &model{ids: itemid.NewTable()}
	m.items = items.New(m.ids, items.Options{Gap: 30 * 60 * 1e6})
	clicks := 0
	for i := range train {
		m.items.Apply([]items.Change{m.change(i, &train[i])})
		clicks += len(train[i].clicks)
	}
	r.BuildMicros = (cpu() - began) / float64(clicks)
	sizes := m.items.Sizes()
	r.Sessions, r.Items, r.MegaBytes = sizes.Sessions, sizes.Items, float64(sizes.Bytes)/1e6
	return m
}

// cpu is the process's time on the processor in microseconds: others on the machine do not show in it.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("nextitem: asking for the process's own times: %v", err)) // cannot fail
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}

// change is a session as the history of a person. Their references to items are never given back.
func (m *model) change(number int, s *session) items.Change {
	var subject items.Subject
	binary.BigEndian.PutUint64(subject[:], uint64(number+1)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(subject[8:], uint64(number))
	c := items.Change{Subject: subject}
	for i, click := range s.clicks {
		c.Interactions = append(c.Interactions, items.Interaction{
			Event: uint64(number)<<16 | uint64(i), Session: uint64(number + 1), Time: click.time, Item: m.ids.Acquire(click.item), Type: uint8(vocab.Type_VIEW_ITEM),
		})
	}
	return c
}

// predict ranks from every prefix of every test session.
func (m *model) predict(test []session, o *options, r *result) {
	var hits, ranks, short float64
	began := cpu()
	var out []items.Scored
	for i := range test {
		var prefix []uint32
		clicks := test[i].clicks
		for at := range clicks[:len(clicks)-1] {
			prefix = append(prefix, m.ids.Find(clicks[at].item))
			if o.last > 0 && len(prefix) > o.last {
				prefix = prefix[1:]
			}
			out = m.items.Neighbours(out[:0], prefix, nil, clicks[at].time, &o.knn)
			r.Predictions++
			list := out
			if o.skipLast {
				list = without(list, prefix[len(prefix)-1])
			}
			if len(list) < 20 {
				short++
			}
			if rank := rankOf(list, m.ids.Find(clicks[at+1].item)); rank > 0 {
				hits++
				ranks += 1 / float64(rank)
			}
		}
	}
	n := float64(max(1, r.Predictions))
	r.HR20, r.MRR20, r.Short, r.Micros = hits/n, ranks/n, short/n, (cpu()-began)/n
}

func without(list []items.Scored, item uint32) []items.Scored {
	for i := range list {
		if list[i].Item == item {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// rankOf is the place of the item among the first 20, from 1; 0 if it is not there.
func rankOf(list []items.Scored, item uint32) int {
	for i := range list[:min(20, len(list))] {
		if item != itemid.None && list[i].Item == item {
			return i + 1
		}
	}
	return 0
}
