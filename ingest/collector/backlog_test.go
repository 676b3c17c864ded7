package collector

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"sluice/ingest"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// holds checks how many events the log has.
func (s *server) holds(t *testing.T, want int64) {
	t.Helper()
	var n int64
	if err := stream.ReadAll(t.Context(), s.cluster, topics.Events, func(recs []stream.Record) { n += int64(len(recs)) }); err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Errorf("%d events on the log, want %d", n, want)
	}
}

// TestBehindRefusesEventsAlone: where too many accepted events wait, no further ones are stored, and everything else goes on.
func TestBehindRefusesEventsAlone(t *testing.T) {
	backlog := stream.NewBacklog(stream.Cluster{}, stream.Role{}, nil, stream.BacklogOptions{Limit: 3}) // nobody runs it: nothing is ever settled
	s := start(t, func(o *Options) { o.Backlog = backlog })
	rows := "/v1/replays/00000000000000ab/events"
	for i, c := range []struct {
		ask  ask
		want string
	}{
		{ask{body: "[" + one("a", "v") + "," + one("b", "v") + "]"}, "202 accepted=2"},
		{ask{body: one("c", "nobody")}, "202 denied=1"}, // is not stored
		{ask{path: rows, kind: typeNDJSON, body: `{"row":1,"event":` + one("d", "v") + `}`}, "202 accepted=1"},
		{ask{body: one("e", "v")}, "429 behind"},
		{ask{path: rows, kind: typeNDJSON, body: `{"row":2,"event":` + one("f", "v") + `}`}, "429 behind"},
		{ask{path: "/v1/items", kind: typeNDJSON, body: `{"item_id":"i"}`}, "202 accepted=1"},
	} {
		answer, body := s.do(t, c.ask)
		if got := told(t, answer, body); got != c.want {
			t.Errorf("request %d: %s, want %s", i, got, c.want)
		}
		if refused := answer.StatusCode == http.StatusTooManyRequests; refused != (answer.Header.Get("Retry-After") == "1") {
			t.Errorf("request %d: Retry-After %q", i, answer.Header.Get("Retry-After"))
		}
	}
	s.holds(t, 3)
	if n := s.counted(t, "sluice_ingest_behind_total")[""]; n != 2 {
		t.Errorf("%v refusals counted, want 2", n)
	}
}

// full has no room, however long one waits.
type full struct{ Backlog }

func (full) TakeLater(context.Context, int) error { return context.DeadlineExceeded }

// between opens for the first look and is full when the events are counted.
type between struct{ Backlog }

func (between) Open() bool         { return true }
func (between) Reserve(int) bool   { return true }
func (between) Fill(int, int) bool { return false }
func (between) Release(int)        {}

// TestBehindIsAskedAgainBeforeTheWrite: the backlog may fill while a body is read.
func TestBehindIsAskedAgainBeforeTheWrite(t *testing.T) {
	s := start(t, func(o *Options) { o.Backlog = between{} })
	answer, body := s.do(t, ask{body: one("a", "v")})
	if got := told(t, answer, body); got != "429 behind" {
		t.Error(got)
	}
	s.holds(t, 0)
}

// TestForeignEventsWait: what comes over sluice.inbound is not appended beyond the limit.
func TestForeignEventsWait(t *testing.T) {
	s := start(t, func(o *Options) { o.Backlog = full{} })
	ev, fault := s.c.Inbound().Decode([]byte(one("a", "v")), now)
	if fault != nil {
		t.Fatal(fault)
	}
	if err := s.c.Inbound().Append(t.Context(), []*ingest.Event{ev}, now); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("appended beyond the limit (%v)", err)
	}
	s.holds(t, 0)
}
