package consent

import (
	"context"
	"sync"
)

// shared lets those who ask the same thing at once share an answer. Nobody gets one that was asked for before they came.
type shared struct {
	mu      sync.Mutex // guards the fields below
	asking  bool
	pending *question // of those who came while one was being asked
}

// question is asked for everyone who waits for it.
type question struct {
	done chan struct{}
	err  error // once done is closed
}

// do returns the answer to a question that was asked after do was called. ask has a context of its own, which does not end when one of those who wait gives up.
func (s *shared) do(ctx context.Context, ask func(ctx context.Context) error) error {
	s.mu.Lock()
	if s.pending == nil {
		s.pending = &question{done: make(chan struct{})}
	}
	mine := s.pending
	if !s.asking {
		s.asking = true
		go s.askAll(context.WithoutCancel(ctx), ask)
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-mine.done:
		return mine.err
	}
}

// askAll asks until nobody waits.
func (s *shared) askAll(ctx context.Context, ask func(ctx context.Context) error) {
	for {
		s.mu.Lock()
		q := s.pending
		s.pending = nil
		if s.asking = q != nil; q == nil {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		q.err = ask(ctx)
		close(q.done)
	}
}
