package recommend

import (
	"bytes"
	"sync"

	"sluice/recommend/cursor"
)

// maxShared bounds the bytes of the lists that are kept within a tick.
const maxShared = 16 << 20

// shared keeps lists that are not personal for one tick of the published lists. Equal inputs give equal lists, so most requests get a list that is made
// already.
type shared struct {
	mu    sync.RWMutex // guards what follows
	tick  int64
	lists map[sharedKey]*made
	bytes int
}

// sharedKey is all that an answer depends on: its recommendation id is a digest of it, with the surface's name.
type sharedKey struct {
	surface     *Surface
	id, because string
}

// made is a list with what its cursor holds. It is read-only.
type made struct {
	*outcome
	next *cursor.State // nil: the list ends
	text string        // next as the body has it
}

func (s *shared) get(key sharedKey, tick int64) *made {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if tick != s.tick {
		return nil
	}
	return s.lists[key]
}

// keep keeps a list for the tick. 0 = nothing has been published yet: nothing is kept.
func (s *shared) keep(key sharedKey, tick int64, list *made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tick < s.tick || tick == 0 {
		return
	}
	size := len(list.body) + len(list.text)
	if tick > s.tick || s.bytes+size > maxShared {
		s.tick, s.lists, s.bytes = tick, make(map[sharedKey]*made), 0
	}
	s.lists[key] = list
	s.bytes += size
}

// again is the list with a cursor that is sealed now: it can be used for its whole life, and tells nobody who else was given the list.
func (l *made) again(m *making) *outcome {
	o := *l.outcome
	o.shared = true
	if l.next == nil {
		return &o
	}
	at := bytes.LastIndex(l.body, []byte(l.text))
	next := m.cursors.Seal(l.next, m.now)
	o.body = append(append(append(make([]byte, 0, len(l.body)), l.body[:at]...), next...), l.body[at+len(l.text):]...)
	return &o
}
