package profile

import (
	"slices"
	"sort"

	"sluice/features/record"
)

// posting is one touch of an item: when, and in whose history.
type posting struct {
	time   int64
	event  uint64
	person *person
}

// postings are an item's touches by (time, event), in chunks, so that inserting and removing anywhere stay cheap in a list of millions.
type postings struct {
	chunks [][]posting // none is empty
	n      int
}

const chunkSize = 256

// chunk is the place of the chunk where (time, event) belongs.
func (p *postings) chunk(time int64, event uint64) int {
	after := sort.Search(len(p.chunks), func(i int) bool {
		return record.CompareEvents(p.chunks[i][0].time, p.chunks[i][0].event, time, event) > 0
	})
	return max(0, after-1)
}

func (p *postings) insert(added posting) {
	p.n++
	if len(p.chunks) == 0 {
		p.chunks = append(p.chunks, []posting{added})
		return
	}
	i := p.chunk(added.time, added.event)
	at, _ := find(p.chunks[i], added.time, added.event)
	chunk := slices.Insert(p.chunks[i], at, added)
	p.chunks[i] = chunk
	if len(chunk) <= chunkSize {
		return
	}
	cut := chunkSize / 2
	if at == len(chunk)-1 && i == len(p.chunks)-1 {
		cut = chunkSize // the common case, appending, leaves full chunks behind
	}
	p.chunks = slices.Insert(p.chunks, i+1, slices.Clone(chunk[cut:]))
	clear(chunk[cut:])
	p.chunks[i] = chunk[:cut]
}

func (p *postings) remove(time int64, event uint64) {
	if len(p.chunks) == 0 {
		return
	}
	i := p.chunk(time, event)
	at, found := find(p.chunks[i], time, event)
	if !found {
		return
	}
	p.n--
	p.chunks[i] = slices.Delete(p.chunks[i], at, at+1)
	if len(p.chunks[i]) == 0 {
		p.chunks = slices.Delete(p.chunks, i, i+1)
	}
}

// person is whose touch (time, event) is, nil if it is nobody's.
func (p *postings) person(time int64, event uint64) *person {
	if len(p.chunks) == 0 {
		return nil
	}
	chunk := p.chunks[p.chunk(time, event)]
	if at, found := find(chunk, time, event); found {
		return chunk[at].person
	}
	return nil
}

func find(chunk []posting, time int64, event uint64) (int, bool) {
	at := sort.Search(len(chunk), func(i int) bool { return record.CompareEvents(chunk[i].time, chunk[i].event, time, event) >= 0 })
	return at, at < len(chunk) && chunk[at].time == time && chunk[at].event == event
}

// newest appends the newest n postings to out, newest first.
func (p *postings) newest(out []posting, n int) []posting {
	for i := len(p.chunks) - 1; i >= 0; i-- {
		chunk := p.chunks[i]
		for j := len(chunk) - 1; j >= 0; j-- {
			if n == 0 {
				return out
			}
			out = append(out, chunk[j])
			n--
		}
	}
	return out
}
