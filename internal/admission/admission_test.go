package admission

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hall is a controller with requests that stay until they are told to leave.
type hall struct {
	t *testing.T
	c *Controller

	mu    sync.Mutex // guards the fields below
	order []string   // in which they came in
	out   map[string]func()
}

// enter sends a request, and returns once it is in, waits or was refused.
func (h *hall) enter(name string, class Class, within time.Duration) {
	h.t.Helper()
	go func() {
		ctx, cancel := context.WithTimeout(h.t.Context(), within)
		defer cancel()
		leave, ok := h.c.Door(class).Enter(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !ok {
			h.order = append(h.order, name+" refused")
			return
		}
		h.order = append(h.order, name)
		h.out[name] = leave
	}()
	synctest.Wait()
}

func (h *hall) leave(name string) {
	h.t.Helper()
	h.mu.Lock()
	leave := h.out[name]
	delete(h.out, name)
	h.mu.Unlock()
	leave()
	synctest.Wait()
}

// expect compares who came in, or was refused, since the last time.
func (h *hall) expect(names ...string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.order, names) {
		h.t.Errorf("%q, want %q", h.order, names)
	}
	h.order = nil
}

func inHall(t *testing.T, o Options, visit func(h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hall{t: t, c: New(o), out: make(map[string]func())}
		visit(h)
		for len(h.out) > 0 { // one who leaves lets the next one in
			for _, name := range slices.Collect(maps.Keys(h.out)) {
				h.leave(name)
			}
		}
		for class := range classes {
			if q := &h.c.queues[class]; q.in != 0 || q.own || len(q.waiting) != 0 || h.c.shared != 0 {
				t.Errorf("%s: %+v, %d shared, when all are gone", names[class], q, h.c.shared)
			}
		}
	})
}

const long = time.Hour

func TestRefusedAtTheBoundAndNotBefore(t *testing.T) {
	inHall(t, Options{Places: 1, Waiting: 2}, func(h *hall) {
		h.enter("a", Rankings, long)
		h.enter("b", Rankings, long) // the class's own place
		h.expect("a", "b")
		h.enter("c", Rankings, long)
		h.enter("d", Rankings, long)
		h.expect()
		h.enter("e", Rankings, long)
		h.expect("e refused")
		h.leave("a")
		h.expect("c")
		h.enter("f", Rankings, long)
		h.expect()
		h.leave("b")
		h.expect("d")
		h.leave("c")
		h.expect("f")
	})
}

func TestTheHigherClassGoesFirst(t *testing.T) {
	inHall(t, Options{Places: 2}, func(h *hall) {
		for _, name := range []string{"c1", "c2", "c3"} { // all of collection's places
			h.enter(name, Collection, long)
		}
		h.enter("c4", Collection, long)
		h.enter("r1", Rankings, long) // each has one of its own
		h.enter("d1", Decisions, long)
		h.expect("c1", "c2", "c3", "r1", "d1")
		h.enter("r2", Rankings, long)
		h.enter("d2", Decisions, long)
		h.enter("d3", Decisions, long)
		h.leave("c1")
		h.expect("d2")
		h.leave("c2")
		h.expect("d3")
		h.leave("d2")
		h.expect("r2")
		h.leave("d3")
		h.expect("c4")
	})
}

func TestAStuckClassStopsNoOther(t *testing.T) {
	inHall(t, Options{Places: 2, Waiting: 1}, func(h *hall) {
		for _, name := range []string{"d1", "d2", "d3"} {
			h.enter(name, Decisions, long)
		}
		h.enter("d4", Decisions, long)
		h.enter("d5", Decisions, long)
		h.expect("d1", "d2", "d3", "d5 refused")
		for range 3 {
			h.enter("r", Rankings, long)
			h.enter("c", Collection, long)
			h.expect("r", "c")
			h.leave("r")
			h.leave("c")
		}
	})
}

func TestWhatCannotBeInTimeIsRefusedAtOnce(t *testing.T) {
	inHall(t, Options{Places: 1}, func(h *hall) {
		for range 100 { // a stay takes ten seconds, of the clock that synctest moves
			h.enter("a", Rankings, long)
			time.Sleep(10 * time.Second)
			h.leave("a")
		}
		h.order = nil
		h.enter("a", Rankings, long)
		h.enter("b", Rankings, long)
		h.enter("c", Rankings, long)
		h.expect("a", "b")
		began := time.Now()
		h.enter("hasty", Rankings, 15*time.Second) // one before it, and its own stay
		h.expect("hasty refused")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("refused after %v", waited)
		}
		h.enter("patient", Rankings, 25*time.Second)
		h.expect()
		// The sleep moves synctest's clock and takes no time. It lets the patient one's deadline pass while nobody leaves.
		time.Sleep(25 * time.Second)
		synctest.Wait()
		h.expect("patient refused")
		h.leave("a")
		h.expect("c")
	})
}

func TestNoDoorIsOpen(t *testing.T) {
	leave, ok := (*Door)(nil).Enter(t.Context())
	if !ok {
		t.Fatal("refused")
	}
	leave()
}
