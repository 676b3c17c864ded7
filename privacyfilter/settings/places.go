package settings

import (
	"context"
	"sync"
	"time"
)

// enter takes a place for the change, and gives it back with leave. A caller with a write key takes one of its address's places first, so that whoever fills
// these keeps out nobody elsewhere.
func (s *service) enter(ctx context.Context, c *change) (leave func(), ok bool) {
	places, shares := s.placesOf(c)
	out := func() {}
	if address, limited := subjectOf(ctx).caller.Address(); limited && shares != nil {
		if out, ok = shares.enter(ctx, address); !ok {
			return nil, false
		}
	}
	if !enter(ctx, places, c.stranger) {
		out()
		return nil, false
	}
	return func() {
		<-places
		out()
	}, true
}

// placesOf are the places that the change shares with its like, and how they are shared among addresses.
func (s *service) placesOf(c *change) (chan struct{}, *shares) {
	switch {
	case c.stranger:
		return s.strangers, nil
	case c.restrict == nil:
		return s.permissions, s.permitting
	default:
		return s.restrictions, s.restricting
	}
}

// enter takes a place, at once or not at all, unless patient.
func enter(ctx context.Context, places chan struct{}, patient bool) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	if !patient {
		return false
	}
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// shares bound how many places each address holds.
type shares struct {
	each int

	mu sync.Mutex // guards of
	of map[uint64]*share
}

// share is the places of an address.
type share struct {
	places chan struct{}
	users  int // requests that hold a place or wait for one; the last one to go removes the share
}

func newShares(each int) *shares { return &shares{each: each, of: make(map[uint64]*share)} }

// enter takes one of the address's places, and waits a while if there is none.
func (s *shares) enter(ctx context.Context, address uint64) (leave func(), ok bool) {
	one := s.join(address)
	if !enter(ctx, one.places, true) {
		s.part(address, one)
		return nil, false
	}
	return func() {
		<-one.places
		s.part(address, one)
	}, true
}

func (s *shares) join(address uint64) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[address]
	if one == nil {
		one = &share{places: make(chan struct{}, s.each)}
		s.of[address] = one
	}
	one.users++
	return one
}

func (s *shares) part(address uint64, one *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.of, address)
	}
}
