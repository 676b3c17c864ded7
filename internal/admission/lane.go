package admission

import (
	"runtime"
	"sync"
)

// Lane is the way of work that no request waits for: what engines make of events, what views apply. Go's scheduler knows no priorities: each processor may be
// busy with such work for milliseconds when a request comes, and then another one takes its turn. So while somebody hurries, the lane leaves one processor free,
// if there is more than one.
//
// Whoever is in the lane computes. It may read a checkpoint, and waits for nobody else who may be in the lane. A nil Lane has room for everybody. It is safe for
// concurrent use.
type Lane struct {
	narrow int // how many may be in it while somebody hurries

	mu       sync.Mutex // guards the fields below
	room     sync.Cond  // there may be some
	hurrying int
	in       int
}

// NewLane makes a lane for a machine with this many processors; 0 = this process's.
func NewLane(processors int) *Lane {
	if processors == 0 {
		processors = runtime.GOMAXPROCS(0)
	}
	l := &Lane{narrow: max(1, processors-1)}
	l.room.L = &l.mu
	return l
}

// Enter waits for room. Leave must follow soon: a slice of work is a millisecond or a few.
func (l *Lane) Enter() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.hurrying > 0 && l.in >= l.narrow {
		l.room.Wait()
	}
	l.in++
}

// Pass waits for room as Enter does, and takes none. Then it lets those go first that could run.
func (l *Lane) Pass() {
	if l != nil {
		l.mu.Lock()
		for l.hurrying > 0 && l.in >= l.narrow {
			l.room.Wait()
		}
		l.room.Signal() // the room is still there for the next one
		l.mu.Unlock()
	}
	runtime.Gosched()
}

// Leave makes room. While somebody hurries, it also lets those go first that could run and got no processor: the scheduler takes one away after ten milliseconds.
func (l *Lane) Leave() {
	if l == nil {
		return
	}
	l.mu.Lock()
	hurrying := l.hurrying > 0
	l.in--
	l.room.Signal()
	l.mu.Unlock()
	if hurrying {
		runtime.Gosched()
	}
}

// Hurry keeps the lane narrow until arrived is called, once.
func (l *Lane) Hurry() (arrived func()) {
	if l == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurrying++
	return l.arrived
}

func (l *Lane) arrived() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurrying--
	if l.hurrying == 0 {
		l.room.Broadcast()
	}
}
