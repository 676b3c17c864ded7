package replay

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstPoll   = 50 * time.Millisecond
	longestPoll = time.Second
	// patience is how long the server may go without progress before the run is called unsettled.
	patience = 2 * time.Minute
)

// settled is what GET /v1/replays/{run} says: rows that the filter has settled.
type settled struct {
	Accepted  int64 `json:"accepted"`
	Duplicate int64 `json:"duplicate"`
	Denied    int64 `json:"denied"`
	Rejected  int64 `json:"rejected"`
}

func (s settled) sum() int64 { return s.Accepted + s.Duplicate + s.Denied + s.Rejected }

// settle waits until the filter has settled every appended row, and every store of the digest has caught up.
func (r *replay) settle(ctx context.Context, sent counts) error {
	got, err := r.settleFilter(ctx, sent.appended)
	denied, rejected := r.account.Denied, r.account.Rejected
	r.book(got, denied, rejected)
	if err != nil {
		return err
	}
	if err := r.settleStores(ctx); err != nil {
		return err
	}
	if got, err = r.settleFilter(ctx, sent.appended); err == nil {
		r.book(got, denied, rejected)
	}
	return err
}

// book writes the account. If the first answer to a batch was lost, the batch may have been appended, and the gate may have denied a part of it the second
// time. The filter settles such rows, and they must not be counted twice.
func (r *replay) book(got settled, deniedAtGate, rejectedBefore int64) {
	a := &r.account
	both := max(0, got.sum()+deniedAtGate+rejectedBefore-a.Read)
	a.Rejected = rejectedBefore + got.Rejected
	a.Accepted, a.Duplicate, a.Denied = got.Accepted, got.Duplicate, got.Denied+max(0, deniedAtGate-both)
}

func (r *replay) settleFilter(ctx context.Context, appended int64) (settled, error) {
	var got settled
	if appended == 0 {
		return got, nil
	}
	err := r.poll(ctx, func() (int64, error) {
		err := r.client.get(ctx, "/v1/replays/"+r.account.Run, &got)
		return max(0, appended-got.sum()), err
	})
	if errors.Is(err, ErrNotSettled) {
		return got, fmt.Errorf("the filter has settled %d of %d rows: %w", got.sum(), appended, err)
	}
	return got, err
}

// settleStores waits until every engine has committed what it was sent.
func (r *replay) settleStores(ctx context.Context) error {
	var behind struct {
		Lag int64 `json:"lag"`
	}
	err := r.poll(ctx, func() (int64, error) {
		err := r.client.get(ctx, "/v1/state/lag", &behind)
		return behind.Lag, err
	})
	if errors.Is(err, ErrNotSettled) {
		return fmt.Errorf("the stores are %d records behind: %w", behind.Lag, err)
	}
	return err
}

// poll asks until nothing is left, or nothing has moved for as long as patience.
func (r *replay) poll(ctx context.Context, left func() (int64, error)) error {
	least, wait, idle := int64(-1), firstPoll, time.Duration(0)
	for {
		n, err := left()
		if err != nil || n == 0 {
			return err
		}
		if least < 0 || n < least {
			least, idle = n, 0
		}
		if idle >= patience {
			return ErrNotSettled
		}
		if err := r.client.pause(ctx, wait); err != nil {
			return err
		}
		idle += wait
		wait = min(2*wait, longestPoll)
	}
}
