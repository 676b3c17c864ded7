package items

import (
	"cmp"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"sluice/features/slab"
)

// posting is a session that an item is in: the second of the item's newest interaction there (high 32 bits), and the session's number.
type posting uint64

func newPosting(micros int64, session uint32) posting {
	return posting(uint64(seconds(micros))<<32 | uint64(session))
}

func (p posting) second() uint32  { return uint32(p >> 32) }
func (p posting) session() uint32 { return uint32(p) }

// seconds is a time in whole seconds, as far as 32 bits go.
func seconds(micros int64) uint32 { return uint32(min(max(micros/1e6, 0), 1<<32-1)) }

// list is one item's postings, in the order of (second, session). They are in one block, or in the blocks of a directory, so that inserting and removing
// anywhere is cheap in a list of millions.
type list struct {
	at     uint32 // of the block, or of the directory if there are several
	n      uint32
	chunks uint32
}

type chunk struct{ at, n uint32 }

// postings keeps all items' lists.
type postings struct {
	lists   []list // by item number
	entries slab.Slab[posting]
	dirs    slab.Slab[chunk]
	order   func(session uint32) uint64 // of sessions within one second
	loading bool                        // lists are in no order, and nobody finds anything in them
}

const chunkSize = 256

func (p *postings) compare(a, b posting) int {
	if a.second() != b.second() {
		return cmp.Compare(a, b)
	}
	if a == b {
		return 0
	}
	return cmp.Compare(p.order(a.session()), p.order(b.session()))
}

// len is how many sessions an item is in.
func (p *postings) len(item uint32) int {
	if int(item) >= len(p.lists) {
		return 0
	}
	return int(p.lists[item].n)
}

// chunk finds the chunk of a list that a posting belongs to.
func (p *postings) chunk(l *list, x posting) int {
	if p.loading {
		return int(l.chunks) - 1
	}
	dir := p.dirs.At(l.at, int(l.chunks))
	after := sort.Search(len(dir), func(i int) bool { return p.compare(p.entries.At(dir[i].at, 1)[0], x) > 0 })
	return max(0, after-1)
}

// insert adds a posting that is not there and tells whether it is the item's first.
func (p *postings) insert(item uint32, x posting) bool {
	for int(item) >= len(p.lists) {
		p.lists = append(p.lists, list{})
	}
	l := &p.lists[item]
	l.n++
	switch {
	case l.n == 1:
		l.at, l.chunks = p.entries.Alloc(1), 1
		p.entries.At(l.at, 1)[0] = x
		return true
	case l.chunks > 1:
		p.insertChunked(l, x)
	default:
		c := chunk{l.at, l.n - 1}
		at := p.put(&c, x)
		if l.at = c.at; c.n > chunkSize {
			l.at, l.chunks = p.dirs.Alloc(1), 1
			p.dirs.At(l.at, 1)[0] = c
			p.split(l, 0, at)
		}
	}
	return false
}

func (p *postings) insertChunked(l *list, x posting) {
	i := p.chunk(l, x)
	c := &p.dirs.At(l.at, int(l.chunks))[i]
	if at := p.put(c, x); c.n > chunkSize {
		p.split(l, i, at)
	}
}

// put inserts into one chunk and tells where.
func (p *postings) put(c *chunk, x posting) int {
	block := p.entries.At(c.at, int(c.n))
	at := len(block)
	if !p.loading && p.compare(block[at-1], x) > 0 { // newest last is the common case
		at, _ = slices.BinarySearchFunc(block, x, p.compare)
	}
	c.at = p.entries.Resize(c.at, int(c.n), int(c.n)+1)
	c.n++
	block = p.entries.At(c.at, int(c.n))
	copy(block[at+1:], block[at:])
	block[at] = x
	return at
}

// split makes two chunks of the one at i, to which an entry was added at the place. Appending, the common case, leaves full chunks behind.
func (p *postings) split(l *list, i, added int) {
	c := p.dirs.At(l.at, int(l.chunks))[i]
	cut := int(c.n) / 2
	if added == int(c.n)-1 && i == int(l.chunks)-1 {
		cut = int(c.n) - 1
	}
	tail := chunk{p.entries.Alloc(int(c.n) - cut), c.n - uint32(cut)}
	copy(p.entries.At(tail.at, int(tail.n)), p.entries.At(c.at, int(c.n))[cut:])
	c.at = p.entries.Resize(c.at, int(c.n), cut)
	c.n = uint32(cut)
	l.at = p.dirs.Resize(l.at, int(l.chunks), int(l.chunks)+1)
	l.chunks++
	dir := p.dirs.At(l.at, int(l.chunks))
	copy(dir[i+1:], dir[i:])
	dir[i], dir[i+1] = c, tail
}

// remove takes a posting away and tells whether it was the item's last.
func (p *postings) remove(item uint32, x posting) bool {
	p.loaded()
	l := &p.lists[item]
	if l.chunks == 1 {
		c := chunk{l.at, l.n}
		p.take(&c, x)
		l.at, l.n = c.at, c.n
		if l.n == 0 {
			*l = list{}
		}
		return l.n == 0
	}
	i := p.chunk(l, x)
	dir := p.dirs.At(l.at, int(l.chunks))
	p.take(&dir[i], x)
	l.n--
	if dir[i].n > 0 {
		return false
	}
	copy(dir[i:], dir[i+1:])
	if l.chunks == 2 {
		last := dir[0]
		p.dirs.Release(l.at, 2)
		l.at, l.chunks = last.at, 1
		return false
	}
	l.at = p.dirs.Resize(l.at, int(l.chunks), int(l.chunks)-1)
	l.chunks--
	return false
}

// take removes from one chunk.
func (p *postings) take(c *chunk, x posting) {
	block := p.entries.At(c.at, int(c.n))
	at, found := slices.BinarySearchFunc(block, x, p.compare)
	if !found {
		panic("items: a posting that was added is not there") // the lists would drift from the histories
	}
	copy(block[at:], block[at+1:])
	c.at = p.entries.Resize(c.at, int(c.n), int(c.n)-1)
	c.n--
}

// newest yields the newest n postings of an item, chunk by chunk; each chunk is in ascending order.
func (p *postings) newest(item uint32, n int, yield func([]posting)) {
	if p.loading || int(item) >= len(p.lists) || p.lists[item].n == 0 {
		return
	}
	l := &p.lists[item]
	if l.chunks == 1 {
		block := p.entries.At(l.at, int(l.n))
		yield(block[max(0, len(block)-n):])
		return
	}
	dir := p.dirs.At(l.at, int(l.chunks))
	for i := len(dir) - 1; i >= 0 && n > 0; i-- {
		block := p.entries.At(dir[i].at, int(dir[i].n))
		block = block[max(0, len(block)-n):]
		n -= len(block)
		yield(block)
	}
}

// loaded ends loading: it brings the lists into their order, side by side.
func (p *postings) loaded() {
	if !p.loading {
		return
	}
	p.loading = false
	var next atomic.Int64
	var sorting sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		sorting.Go(func() {
			s := sorter{postings: p}
			for item := next.Add(1) - 1; item < int64(len(p.lists)); item = next.Add(1) - 1 {
				s.sort(&p.lists[item])
			}
		})
	}
	sorting.Wait()
}

// sorter brings lists into their order. Its memory is used again.
type sorter struct {
	*postings
	all  []posting
	ties []tie
}

// tie is a posting of a second that others have, too.
type tie struct {
	order uint64
	posting
}

// sort keeps the list's blocks: other lists may be sorted meanwhile.
func (s *sorter) sort(l *list) {
	if l.n < 2 {
		return
	}
	s.all = s.all[:0]
	s.blocks(l, func(block []posting) { s.all = append(s.all, block...) })
	slices.Sort(s.all) // by second
	for from := 0; from < len(s.all); {
		to := from + 1
		for to < len(s.all) && s.all[to].second() == s.all[from].second() {
			to++
		}
		s.untie(s.all[from:to])
		from = to
	}
	rest := s.all
	s.blocks(l, func(block []posting) { rest = rest[copy(block, rest):] })
}

// untie sorts postings of one second. To find a session's order takes longer than to compare two.
func (s *sorter) untie(all []posting) {
	if len(all) < 2 {
		return
	}
	s.ties = s.ties[:0]
	for _, x := range all {
		s.ties = append(s.ties, tie{s.order(x.session()), x})
	}
	slices.SortFunc(s.ties, func(a, b tie) int { return cmp.Compare(a.order, b.order) })
	for i := range s.ties {
		all[i] = s.ties[i].posting
	}
}

// blocks yields all postings of a list, block by block.
func (p *postings) blocks(l *list, yield func([]posting)) {
	if l.chunks == 1 {
		yield(p.entries.At(l.at, int(l.n)))
		return
	}
	for _, c := range p.dirs.At(l.at, int(l.chunks)) {
		yield(p.entries.At(c.at, int(c.n)))
	}
}
