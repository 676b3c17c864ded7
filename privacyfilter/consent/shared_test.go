package consent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestSharedAnswers: whoever comes while one question is asked gets the answer of the next one, which all of them share.
func TestSharedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared
		asked := 0
		answer := make(chan error)
		ask := func(context.Context) error { asked++; return <-answer }
		got := make(chan error, 10)
		come := func() {
			go func() { got <- s.do(t.Context(), ask) }()
			synctest.Wait()
		}
		for range 3 { // the first one's question, and one for the others
			come()
		}
		first, second := errors.New("first"), errors.New("second")
		answer <- first
		if err := <-got; !errors.Is(err, first) || len(got) != 0 {
			t.Errorf("%v, and %d further answers", err, len(got))
		}
		answer <- second
		for range 2 {
			if err := <-got; !errors.Is(err, second) {
				t.Error(err)
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
		come()
		answer <- nil
		if err := <-got; err != nil || asked != 3 {
			t.Errorf("%v, asked %d times", err, asked)
		}
	})
}

// TestSharedAnswersOutliveOneWhoWaits: one who gives up takes nobody else's answer along.
func TestSharedAnswersOutliveOneWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared
		answer := make(chan error)
		ask := func(ctx context.Context) error {
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 2)
		go func() { got <- s.do(ctx, ask) }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		go func() { got <- s.do(t.Context(), ask) }()
		synctest.Wait()
		answer <- errors.New("of the first question")
		answer <- nil
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}
